//! New migration files are embedded: build again when one appears.
fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}

//! Generates code from `proto/`, without protoc: protox reads the files, prost and tonic write.

use std::path::{Path, PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // asked at run time: a target folder may be shared by several checkouts
    let root = Path::new(&var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root.join("palinode"), &mut files)?;
    collect(&root.join("cardprocessor"), &mut files)?;
    files.sort();
    let mut compiler = protox::Compiler::new([root.clone(), root.join("third_party")])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(&files)?;

    let out = PathBuf::from(var("OUT_DIR")?);
    std::fs::write(
        out.join("descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    let descriptors =
        prost_types::FileDescriptorSet::decode(&*compiler.encode_file_descriptor_set())?;
    let mut config = prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        .include_file("contracts.rs")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a build script is told its folders that way"
)]
fn var(name: &str) -> Result<String, std::env::VarError> {
    std::env::var(name)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    Ok(())
}

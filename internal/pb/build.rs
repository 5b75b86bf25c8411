//! Generates code from `proto/`, without protoc: protox reads the files, prost and tonic write, and
//! `build/` writes what checks requests.

use std::path::{Path, PathBuf};

use prost::Message;
use protox::prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};

#[path = "build/mod.rs"]
mod validation;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // asked at run time: a target folder may be shared by several checkouts
    let here = PathBuf::from(var("CARGO_MANIFEST_DIR")?);
    let root = here.join("../../proto");
    for read in [
        root.clone(),
        here.join("build"),
        here.join("tests/rules.proto"),
    ] {
        println!("cargo:rerun-if-changed={}", read.display());
    }
    println!("cargo:rerun-if-changed=build.rs");
    let mut files = Vec::new();
    collect(&root.join("palinode"), &mut files)?;
    collect(&root.join("cardprocessor"), &mut files)?;
    files.sort();
    let out = PathBuf::from(var("OUT_DIR")?);
    let third_party = root.join("third_party");

    let pool = compile(&[root, third_party.clone()], &files)?;
    std::fs::write(out.join("descriptors.bin"), encoded(&pool))?;
    let code = validation::write(&pool, is_checked(&pool))?;
    std::fs::write(out.join("validation.rs"), code)?;
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::Checked")
        .include_file("contracts.rs")
        .compile_fds_with_config(spoken(&pool)?, config())?;

    rules_of_tests(&here.join("tests"), third_party, &out.join("tests"))
}

/// The messages that tests look for every kind of rule in.
fn rules_of_tests(tests: &Path, third_party: PathBuf, out: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(out)?;
    let file = tests.join("rules.proto");
    let pool = compile(&[tests.to_owned(), third_party], &[file])?;
    let code = validation::write(&pool, |_| true)?;
    std::fs::write(out.join("validation.rs"), code)?;
    let mut config = config();
    config
        .bytes(["."])
        .out_dir(out)
        .include_file("contracts.rs");
    config.compile_fds(spoken(&pool)?)?;
    Ok(())
}

fn config() -> prost_build::Config {
    let mut config = prost_build::Config::new();
    config.enable_type_names();
    config
}

fn compile(folders: &[PathBuf], files: &[PathBuf]) -> Result<DescriptorPool, Failure> {
    let mut compiler = protox::Compiler::new(folders)?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files)?;
    Ok(compiler.descriptor_pool())
}

/// Requests of our own services, and what commands of sagas are made of.
fn is_checked(pool: &DescriptorPool) -> impl Fn(&MessageDescriptor) -> bool {
    let services: Vec<_> = pool.services().collect();
    move |message| {
        let is_request = services
            .iter()
            .filter(|service| service.package_name().starts_with("palinode."))
            .flat_map(|service| service.methods())
            .any(|method| method.input() == *message);
        is_request || message.parent_file().name().ends_with("_messages.proto")
    }
}

/// The rules of rules: nothing is made of them, and their comments are most of all text.
fn is_of_rules(file: &FileDescriptor) -> bool {
    file.package_name() == "buf.validate"
}

/// The set with all options.
fn encoded(pool: &DescriptorPool) -> Vec<u8> {
    let of = |file: FileDescriptor| {
        if !is_of_rules(&file) {
            return file.encode_to_vec();
        }
        let mut bare = file.file_descriptor_proto().clone();
        bare.source_code_info = None;
        bare.encode_to_vec()
    };
    let file = pool.files().map(of).collect();
    Set { file }.encode_to_vec()
}

/// `google.protobuf.FileDescriptorSet`, its files as they are.
#[derive(Clone, PartialEq, prost::Message)]
struct Set {
    #[prost(bytes = "vec", repeated, tag = "1")]
    file: Vec<Vec<u8>>,
}

/// The files that code is written for.
fn spoken(pool: &DescriptorPool) -> Result<prost_types::FileDescriptorSet, Failure> {
    let files = pool.files().filter(|file| !is_of_rules(file));
    let file = files.map(|file| file.encode_to_vec()).collect();
    let set = Set { file }.encode_to_vec();
    Ok(prost_types::FileDescriptorSet::decode(&*set)?)
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

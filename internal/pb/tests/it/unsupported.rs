//! A rule that is not checked stops the build.

use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

#[path = "../../build/mod.rs"]
mod build;

/// The rules, and a file that uses them.
struct Sources(String);

impl FileResolver for Sources {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let rules = include_str!("../../../../proto/third_party/buf/validate/validate.proto");
        match name {
            "buf/validate/validate.proto" => File::from_source(name, rules),
            "it.proto" => File::from_source(name, &self.0),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn written(body: &str) -> Result<String, String> {
    let source = format!(
        "syntax = \"proto3\"; package it; import \"buf/validate/validate.proto\"; \
         enum E {{ E_UNSPECIFIED = 0; E_ONE = 1; }} message M {{ {body} }}"
    );
    let mut resolver = ChainFileResolver::new();
    resolver.add(Sources(source));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler
        .include_imports(true)
        .open_file("it.proto")
        .unwrap();
    build::write(&compiler.descriptor_pool(), |_| true)
}

#[test]
fn a_rule_that_is_not_supported_is_named_with_its_field() {
    let check = |body: &str, expect: &str| {
        assert_eq!(written(body).unwrap_err(), expect, "{body}");
    };
    let not = |rule: &str| format!("it.M.f: the rule {rule} is not supported here");
    let field = |kind: &str, rule: &str| format!("{kind} f = 1 [(buf.validate.field){rule}];");
    for (kind, rule, name) in [
        ("string", ".string.prefix = \"x\"", "string.prefix"),
        ("string", ".string.ipv4 = true", "string.ipv4"),
        ("string", ".int32.gt = 1", "int32"),
        ("int32", ".int32.not_in = 1", "int32.not_in"),
        ("bytes", ".bytes.pattern = \"x\"", "bytes.pattern"),
        ("double", ".double.finite = true", "double.finite"),
        ("repeated string", ".string.max_len = 1", "string"),
        (
            "repeated double",
            ".repeated.unique = true",
            "repeated.unique",
        ),
        ("string", ".cel = {expression: \"true\"}", "cel"),
        ("string", ".cel_expression = \"true\"", "cel_expression"),
        ("M", ".repeated.max_items = 1", "repeated"),
    ] {
        check(&field(kind, rule), &not(name));
    }
    check(
        "repeated string f = 1 [(buf.validate.field).repeated.items.string.suffix = \"x\"];",
        &not("repeated.items.string.suffix"),
    );
    check(
        "option (buf.validate.message).cel = {expression: \"true\"};",
        "it.M: the rule message.cel is not supported here",
    );
    check(
        &field("string", ".string = {min_len: 3, max_len: 2}"),
        "it.M.f: nothing has the length that is asked for",
    );
    check(
        &field("int32", ".int32 = {gt: 3, lt: 2}"),
        "it.M.f: no number is in the range (what lies outside of one is not supported)",
    );
    check(
        &field("E", ".enum.not_in = 0"),
        "it.M.f: the rule enum.not_in is supported beside enum.defined_only only",
    );
    let error = written(&field("string", ".string.pattern = \"(\"")).unwrap_err();
    assert!(
        error.starts_with("it.M.f: string.pattern: regex parse error"),
        "{error}"
    );
}

#[test]
fn rules_that_are_supported_are_written() {
    let code = written("string f = 1 [(buf.validate.field).string.max_len = 2]; M m = 2;").unwrap();
    assert!(code.contains("chars: (0, 2)"), "{code}");
    assert!(code.contains("impl Validate for self::it::M"), "{code}");
}

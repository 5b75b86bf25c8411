//! The comments of the protos.

use std::collections::HashMap;

use prost_reflect::{
    EnumDescriptor, EnumValueDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor,
};

/// Leading comments by file and path; empty for files without source info.
#[derive(Debug, Default)]
pub(crate) struct Comments {
    of_files: HashMap<String, HashMap<Vec<i32>, String>>,
}

impl Comments {
    pub(crate) fn of_service(&mut self, of: &ServiceDescriptor) -> String {
        self.at(&of.parent_file(), of.path())
    }

    pub(crate) fn of_method(&mut self, of: &MethodDescriptor) -> String {
        self.at(&of.parent_service().parent_file(), of.path())
    }

    pub(crate) fn of_message(&mut self, of: &MessageDescriptor) -> String {
        self.at(&of.parent_file(), of.path())
    }

    pub(crate) fn of_field(&mut self, of: &FieldDescriptor) -> String {
        self.at(&of.parent_message().parent_file(), of.path())
    }

    pub(crate) fn of_enum(&mut self, of: &EnumDescriptor) -> String {
        self.at(&of.parent_file(), of.path())
    }

    pub(crate) fn of_value(&mut self, of: &EnumValueDescriptor) -> String {
        self.at(&of.parent_enum().parent_file(), of.path())
    }

    fn at(&mut self, file: &FileDescriptor, path: &[i32]) -> String {
        let of_file = self
            .of_files
            .entry(file.name().to_owned())
            .or_insert_with(|| read(file));
        of_file.get(path).cloned().unwrap_or_default()
    }
}

fn read(file: &FileDescriptor) -> HashMap<Vec<i32>, String> {
    let Some(info) = &file.file_descriptor_proto().source_code_info else {
        return HashMap::new();
    };
    let comments = info.location.iter().filter_map(|location| {
        let text = location.leading_comments.as_deref()?;
        Some((location.path.clone(), prose(text)))
    });
    comments.collect()
}

/// Lines joined to paragraphs, an empty line between them.
fn prose(text: &str) -> String {
    let mut paragraphs = vec![String::new()];
    for line in text.lines().map(str::trim) {
        let last = paragraphs.last_mut().expect("there is always one");
        if line.is_empty() {
            if !last.is_empty() {
                paragraphs.push(String::new());
            }
            continue;
        }
        if !last.is_empty() {
            last.push(' ');
        }
        last.push_str(line);
    }
    paragraphs.join("\n\n").trim_end().to_owned()
}

/// The first sentence, without its full stop, and what follows it.
pub(crate) fn first_sentence(text: &str) -> (String, String) {
    let end = text
        .match_indices(". ")
        .chain(text.match_indices(".\n"))
        .map(|(at, _)| at)
        .min();
    match end {
        Some(at) => (text[..at].to_owned(), text[at + 1..].trim().to_owned()),
        None => (text.trim_end_matches('.').to_owned(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_paragraphs_and_its_first_sentence_a_summary() {
        let text = prose(" Shows an order. With\n its lines.\n\n Nothing else.\n");
        assert_eq!(text, "Shows an order. With its lines.\n\nNothing else.");
        let (summary, rest) = first_sentence(&text);
        assert_eq!(summary, "Shows an order");
        assert_eq!(rest, "With its lines.\n\nNothing else.");
        assert_eq!(
            first_sentence("Only one."),
            ("Only one".to_owned(), String::new())
        );
        assert_eq!(first_sentence(""), (String::new(), String::new()));
    }
}

//! The files of the checkout, and Rust sources as the rules see them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::items::{self, Attribute, Function, TestCode};
use super::paths::{self, Named};
use super::{mask, tokens};

/// A file that people wrote.
pub(crate) struct TextFile {
    /// Relative to the root, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A Rust source.
pub(crate) struct Source {
    pub(crate) path: String,
    /// Folder of its crate.
    pub(crate) folder: String,
    /// Where it stands in its crate; `None` for build scripts, test programs and benches.
    pub(crate) module: Option<Vec<String>>,
    pub(crate) line_count: usize,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) functions: Vec<Function>,
    pub(crate) paths: Vec<Named>,
    pub(crate) macros: Vec<(String, usize)>,
    test_code: TestCode,
}

const EXTENSIONS: [&str; 7] = ["rs", "toml", "md", "proto", "sh", "yml", "yaml"];
const FOLDERS_LEFT_OUT: [&str; 3] = [".git", "target", "signet-data"];

/// Reads every text file of the checkout, sorted by path.
pub(crate) fn read_all(root: &Path) -> Result<Vec<TextFile>> {
    let mut files = Vec::new();
    read_folder(root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<TextFile>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().with_context(|| format!("cannot look at {path}"))?;
        if kind.is_dir() && !FOLDERS_LEFT_OUT.contains(&name.as_str()) {
            read_folder(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() && is_text(&path) {
            let text = fs::read_to_string(entry.path()).with_context(|| format!("cannot read {path}"))?;
            files.push(TextFile { path, text });
        }
    }
    Ok(())
}

fn is_text(path: &str) -> bool {
    path == ".ci/run" || path.rsplit_once('.').is_some_and(|(_, extension)| EXTENSIONS.contains(&extension))
}

impl Source {
    /// Parses the Rust files among `files`, and learns from each which other files are test code.
    pub(crate) fn parse_all(files: &[TextFile]) -> Vec<Self> {
        let mut sources: Vec<_> =
            files.iter().filter(|file| file.path.ends_with(".rs")).map(Self::parse).collect();
        let test_modules: BTreeSet<_> = sources.iter().flat_map(Self::declared_test_modules).collect();
        for source in &mut sources {
            let Some(module) = &source.module else { continue };
            let within = (1..=module.len()).map(|length| (source.folder.clone(), module[..length].to_vec()));
            if within.into_iter().any(|ancestor| test_modules.contains(&ancestor)) {
                source.test_code.whole_file = true;
            }
        }
        sources
    }

    pub(crate) fn parse(file: &TextFile) -> Self {
        let masked = mask::mask(&file.text);
        let tokens = tokens::split(&masked);
        let attributes = items::attributes(&tokens);
        let mut test_code = items::test_code(&tokens, &attributes);
        let (folder, inside) = file.path.split_once('/').unwrap_or(("", &file.path));
        test_code.whole_file |= inside.starts_with("tests/") || inside.starts_with("benches/");
        let macros = tokens.windows(2).filter(|pair| pair[0].is_word() && pair[1].is("!"));
        Self {
            path: file.path.clone(),
            folder: folder.to_owned(),
            module: module_of(inside),
            line_count: file.text.lines().count(),
            functions: items::functions(&tokens),
            paths: paths::named(&tokens),
            macros: macros.map(|pair| (pair[0].text.to_owned(), pair[0].line)).collect(),
            attributes,
            test_code,
        }
    }

    /// Test code on its own: a test program, a bench, or the file of a test module.
    pub(crate) fn is_test_file(&self) -> bool {
        self.test_code.whole_file
    }

    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test_file() || self.test_code.lines.iter().any(|lines| lines.contains(&line))
    }

    pub(crate) fn production_lines(&self) -> usize {
        (1..=self.line_count).filter(|line| !self.is_test_line(*line)).count()
    }

    fn declared_test_modules(&self) -> Vec<(String, Vec<String>)> {
        let Some(module) = &self.module else {
            return Vec::new();
        };
        let child =
            |name: &String| (self.folder.clone(), [module.as_slice(), std::slice::from_ref(name)].concat());
        self.test_code.modules.iter().map(child).collect()
    }
}

/// `src/translate/tls.rs` holds `translate::tls`.
fn module_of(inside_crate: &str) -> Option<Vec<String>> {
    let inside = inside_crate.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut module: Vec<_> = inside.split('/').map(str::to_owned).collect();
    if matches!(module.as_slice(), [root] if root == "lib" || root == "main") {
        module.clear();
    }
    Some(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_file_is_a_module_of_its_crate() {
        let module = |path| Source::parse(&file(path, "")).module.map(|module| module.join("::"));
        assert_eq!(module("xds/src/session/delta.rs").as_deref(), Some("session::delta"));
        assert_eq!(module("xds/src/lib.rs").as_deref(), Some(""));
        assert_eq!(module("ca/build.rs"), None);
        assert_eq!(module("ca/tests/lib.rs"), None);
    }

    #[test]
    fn the_file_of_a_test_module_is_test_code_with_all_below_it() {
        let sources = Source::parse_all(&[
            file("ca/src/ledger.rs", "#[cfg(test)]\nmod suite;\nmod memory;\n"),
            file("ca/src/ledger/suite.rs", ""),
            file("ca/src/ledger/suite/cases.rs", ""),
            file("ca/src/ledger/memory.rs", ""),
            file("ca/src/suite.rs", ""),
            file("ca/tests/all.rs", ""),
            file("ca/benches/issue.rs", ""),
            file("tests/src/lib.rs", ""),
        ]);
        let marked: Vec<_> = sources.iter().filter(|s| s.is_test_file()).map(|s| s.path.as_str()).collect();
        assert_eq!(
            marked,
            [
                "ca/src/ledger/suite.rs",
                "ca/src/ledger/suite/cases.rs",
                "ca/tests/all.rs",
                "ca/benches/issue.rs"
            ]
        );
    }

    #[test]
    fn every_file_of_the_checkout_is_read_but_nothing_that_was_built() {
        let root = tempfile::tempdir().unwrap();
        for path in ["ca/src/lib.rs", ".ci/run", "target/debug/out.rs", "ca/src/golden.json", "README.md"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x\n").unwrap();
        }
        let paths: Vec<_> = read_all(root.path()).unwrap().into_iter().map(|file| file.path).collect();
        assert_eq!(paths, [".ci/run", "README.md", "ca/src/lib.rs"]);
    }
}

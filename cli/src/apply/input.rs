//! The files that are applied, and what they leave to flags.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;
use signet_manifests::{Bundle, Settings, Source, read};
use signet_policies::identity::{ResourceName, TrustDomain};

use crate::{WrongUsage, connect::ConnectArgs};

/// Files of these kinds are read where a folder is named.
const EXTENSIONS: [&str; 4] = ["yaml", "yml", "json", "template"];
/// Longest file that is read into memory, in bytes.
const MAX_FILE: u64 = 32 << 20;
/// Deepest folder below one that was named.
const MAX_DEPTH: usize = 32;

/// Flags that say what is read.
#[derive(Args, Clone, Debug)]
pub(super) struct InputArgs {
    /// A file, a folder (with what is below it), or - for standard input; may be given several times
    #[arg(long = "file", short = 'f', value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The mesh of documents that name none
    #[arg(long, value_name = "NAME")]
    mesh: Option<ResourceName>,
    /// A parameter of a CloudFormation template, as NAME=VALUE
    #[arg(long = "parameter", short = 'p', value_name = "NAME=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,
    /// A JSON file of parameters: a map, or the list that the AWS CLI takes
    #[arg(long, value_name = "FILE")]
    parameters_file: Option<PathBuf>,
    /// What only AWS knows of a template's resource, as LogicalId.Attribute=VALUE, or LogicalId=VALUE for !Ref
    #[arg(long = "resolve", value_name = "ID=VALUE", value_parser = pair)]
    resolved: Vec<(String, String)>,
    /// A value that another stack exports, as NAME=VALUE
    #[arg(long = "import", value_name = "NAME=VALUE", value_parser = pair)]
    imports: Vec<(String, String)>,
    /// `AWS::StackName` of templates
    #[arg(long, value_name = "NAME")]
    stack_name: Option<String>,
    /// `AWS::AccountId` of templates, and the account in ARNs
    #[arg(long, env = "SIGNET_ACCOUNT_ID", value_name = "DIGITS", default_value = "000000000000")]
    account_id: String,
    /// The server's trust domain, so that names of secrets are held to it before anything is sent
    #[arg(long, env = "SIGNET_TRUST_DOMAIN", value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
}

impl InputArgs {
    /// Reads and judges everything.
    pub(super) fn read(&self, connect: &ConnectArgs) -> Result<Bundle> {
        let mut sources = Vec::new();
        for file in &self.files {
            collect(file, &mut sources)?;
        }
        let bundle = read(&sources, &self.settings(connect)?).context("nothing was applied")?;
        if bundle.resources.is_empty() {
            bail!("the files declare no App Mesh resource; -v says what was left out");
        }
        Ok(bundle)
    }

    pub(super) fn reads_stdin(&self) -> bool {
        self.files.iter().any(|file| is_stdin(file))
    }

    fn settings(&self, connect: &ConnectArgs) -> Result<Settings> {
        let mut parameters = match &self.parameters_file {
            Some(file) => parameters_of(file)?,
            None => BTreeMap::new(),
        };
        parameters.extend(self.parameters.iter().cloned());
        Ok(Settings {
            mesh: self.mesh.clone(),
            stack_name: self.stack_name.clone(),
            parameters,
            resolved: self.resolved.iter().cloned().collect(),
            imports: self.imports.iter().cloned().collect(),
            trust_domain: self.trust_domain.clone(),
            ..Settings::new(&*self.account_id, connect.region())
        })
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

fn collect(file: &Path, sources: &mut Vec<Source>) -> Result<()> {
    if is_stdin(file) {
        let mut text = String::new();
        std::io::stdin().take(MAX_FILE).read_to_string(&mut text).context("cannot read standard input")?;
        sources.push(Source { name: "standard input".to_owned(), text });
        return Ok(());
    }
    if file.is_dir() {
        let before = sources.len();
        folder(file, 0, sources)?;
        if sources.len() == before {
            bail!("{} holds no file that ends in .{}", file.display(), EXTENSIONS.join(", ."));
        }
        return Ok(());
    }
    one(file, sources)
}

/// What is in a folder, in the order of names, without hidden files.
fn folder(path: &Path, depth: usize, sources: &mut Vec<Source>) -> Result<()> {
    if depth > MAX_DEPTH {
        bail!("{} is more than {MAX_DEPTH} folders deep", path.display());
    }
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            folder(&path, depth + 1, sources)?;
        } else if extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str())) {
            one(&path, sources)?;
        }
    }
    Ok(())
}

fn one(file: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let reading = || format!("cannot read {}", file.display());
    let opened = fs::File::open(file).with_context(reading)?;
    let mut bytes = Vec::new();
    opened.take(MAX_FILE).read_to_end(&mut bytes).with_context(reading)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is no UTF-8 text", file.display()))?;
    sources.push(Source { name: file.display().to_string(), text });
    Ok(())
}

/// `{"Name": "value"}`, the same under `Parameters`, or a list of `{ParameterKey, ParameterValue}`.
fn parameters_of(file: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let json: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    let text_of = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let found = match json.get("Parameters").unwrap_or(&json) {
        Value::Object(map) => map.iter().map(|(name, value)| Some((name.clone(), text_of(value)?))).collect(),
        Value::Array(list) => list
            .iter()
            .map(|item| {
                Some((item.get("ParameterKey")?.as_str()?.to_owned(), text_of(item.get("ParameterValue")?)?))
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    found.ok_or_else(|| {
        let what = "holds neither a map of parameters nor a list of ParameterKey and ParameterValue";
        WrongUsage(format!("{} {what}", file.display())).into()
    })
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("it has the form NAME=VALUE".to_owned()),
    }
}

//! `signet export`.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use signet_manifests::{
    Bundle, Settings, State,
    export::{Form, Syntax, text},
    server::meshes,
};
use signet_policies::{identity::ResourceName, time::Clock};

use crate::{app_mesh::AppMesh, connect::ConnectArgs};

/// Examples for `--help`.
pub const HELP: &str = "Examples:\n  \
    signet export > mesh.yaml\n  \
    signet export --mesh shop --to kubernetes --namespace shop > shop.yaml\n  \
    signet export --to cli-input --format json --output-dir backup/\n\n\
    What is written can be given to `signet apply`; an export after that is the same, byte for byte.";

/// Flags of `signet export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// Which mesh; may be given several times [default: all]
    #[arg(long = "mesh", value_name = "NAME")]
    meshes: Vec<ResourceName>,
    /// In which form
    #[arg(long, default_value = "cloudformation")]
    to: To,
    /// In which syntax
    #[arg(long, default_value = "yaml")]
    format: FileFormat,
    /// The namespace of Kubernetes objects
    #[arg(long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// Write one file for each mesh into this folder, instead of to standard output
    #[arg(long, value_name = "FOLDER")]
    output_dir: Option<PathBuf>,
    /// The account in ARNs
    #[arg(long, env = "SIGNET_ACCOUNT_ID", value_name = "DIGITS", default_value = "000000000000")]
    account_id: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// The forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// A CloudFormation template
    #[value(name = "cloudformation")]
    CloudFormation,
    /// Kubernetes manifests of appmesh.k8s.aws/v1beta2
    Kubernetes,
    /// The input of `aws appmesh create-… --cli-input-json`
    CliInput,
}

/// How files are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// For people
    Yaml,
    /// For programs
    Json,
}

/// Writes meshes to standard output, or to files.
///
/// # Errors
/// The server refuses or cannot be reached, a mesh is not there, or a file cannot be written.
pub async fn run(args: ExportArgs, clock: Clock) -> Result<()> {
    let server = AppMesh(args.connect.client(clock)?);
    let asked: BTreeSet<ResourceName> = match args.meshes.is_empty() {
        true => meshes(&server).await?,
        false => args.meshes.iter().cloned().collect(),
    };
    let bundle = State::read(&server, &asked, |_| true).await?.into_bundle();
    if let Some(missing) = asked.iter().find(|mesh| !bundle.declared_meshes().any(|key| key.mesh() == *mesh))
    {
        bail!("the server has no mesh {missing}");
    }
    let Some(folder) = &args.output_dir else {
        print!("{}", args.text(&bundle)?);
        return Ok(());
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let extension = if args.format == FileFormat::Yaml { "yaml" } else { "json" };
    for mesh in &asked {
        let resources = bundle.resources.iter().filter(|(key, _)| key.mesh() == mesh);
        let resources = resources.map(|(key, resource)| (key.clone(), resource.clone())).collect();
        let file = folder.join(format!("{mesh}.{extension}"));
        let written = args.text(&Bundle { resources, notes: Vec::new() })?;
        fs::write(&file, written).with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.display());
    }
    Ok(())
}

impl ExportArgs {
    fn text(&self, bundle: &Bundle) -> Result<String> {
        let form = match self.to {
            To::CloudFormation => Form::CloudFormation,
            To::Kubernetes => Form::Kubernetes,
            To::CliInput => Form::CliInput,
        };
        let syntax = match self.format {
            FileFormat::Yaml => Syntax::Yaml,
            FileFormat::Json => Syntax::Json,
        };
        let settings = Settings::new(&*self.account_id, self.connect.region());
        Ok(text(bundle, form, syntax, &settings, &self.namespace)?)
    }
}

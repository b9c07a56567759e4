//! `signet ca csr` and `signet ca install`: issuers whose certificates somebody else signs.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;
use http::Method;
use serde_json::{Value, json};
use signet_ca::{IssuerName, ledger::AuthorityChange};
use signet_policies::time::Clock;

use super::{
    import::read,
    local::{Folder, KeysArgs},
    tell,
};
use crate::{connect::ConnectArgs, format::Format};

/// Examples for `--help`.
pub(super) const CSR_HELP: &str = "Examples:\n  \
    signet ca csr mesh/my-mesh --out my-mesh.csr               (of a running server)\n  \
    signet ca csr server --data-dir signet-data --out server.csr       (of a stopped one)\n  \
    openssl x509 -req -in my-mesh.csr -CA root.pem -CAkey root.key -copy_extensions copyall -days 365 -out my-mesh.pem\n  \
    signet ca install mesh/my-mesh my-mesh.pem\n\n\
    The key is made where the CA keeps its keys, and stays there. The request holds everything that the certificate must \
    say: CA:TRUE with path length 0, keyCertSign and cRLSign, the trust domain as URI, the subject and its key's \
    identifier. While it waits, the same request comes again; --fresh makes another key. The issuer that is in use \
    goes on until the certificate is installed.";

/// Examples for `--help`.
pub(super) const INSTALL_HELP: &str = "Examples:\n  \
    signet ca install mesh/my-mesh my-mesh.pem\n  \
    signet ca install server server.pem --data-dir signet-data\n\n\
    The file holds the issuer's certificate first, then those between it and the root, if there are any; the root may \
    follow. It is installed only if it is for the key of the request that waits, leads to the root, is valid now and may \
    do what an issuer does. The next certificates come from it; those that are out stay good.";

/// Which authority: a running server's, or that of a data folder.
#[derive(Args, Clone, Debug)]
struct WhereArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    keys: KeysArgs,
    /// Work in this data folder, whose server is stopped, instead of asking a running one
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

/// Flags of `signet ca csr`.
#[derive(Args, Clone, Debug)]
pub struct CsrArgs {
    /// The issuer: mesh/NAME, or server for the one of the server's own certificate
    #[arg(value_name = "ISSUER")]
    issuer: IssuerName,
    #[command(flatten)]
    place: WhereArgs,
    /// Where the request goes [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Make another key although a request waits for its certificate
    #[arg(long)]
    fresh: bool,
    /// For the root that takes over, while `signet ca rotate` replaces the root by one whose key is elsewhere
    #[arg(long, conflicts_with = "data_dir")]
    next: bool,
}

/// Flags of `signet ca install`.
#[derive(Args, Clone, Debug)]
pub struct InstallArgs {
    /// The issuer, as it was given to `signet ca csr`
    #[arg(value_name = "ISSUER")]
    issuer: IssuerName,
    /// The certificates, PEM
    #[arg(value_name = "FILE")]
    certificates: PathBuf,
    #[command(flatten)]
    place: WhereArgs,
    /// For a request that was made with --next
    #[arg(long, conflicts_with = "data_dir")]
    next: bool,
    /// How to say what was done
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Writes a request.
///
/// # Errors
/// The server refuses or cannot be reached, or a key cannot be made.
pub(super) async fn csr(args: CsrArgs, clock: Clock) -> Result<()> {
    let CsrArgs { issuer, place, out, fresh, next } = args;
    let text = match &place.data_dir {
        Some(data_dir) => {
            let folder = Folder::open(data_dir, clock)?;
            folder.authority(&place.keys)?.request(&issuer, fresh)?
        }
        None => {
            let body = json!({ "issuer": issuer.to_string(), "fresh": fresh, "next": next });
            let answer =
                place.connect.client(clock)?.call(Method::POST, "/v1/ca/requests", Some(&body)).await?;
            answer["request"].as_str().context("the answer holds no request")?.to_owned()
        }
    };
    match out {
        None => print!("{text}"),
        Some(path) => write(&path, &text)?,
    }
    Ok(())
}

/// Installs a certificate.
///
/// # Errors
/// The server refuses or cannot be reached, or the certificate is not fit.
pub(super) async fn install(args: InstallArgs, clock: Clock) -> Result<()> {
    let InstallArgs { issuer, certificates, place, next, format } = args;
    let text = read(&certificates)?;
    let name = issuer.to_string();
    match &place.data_dir {
        Some(data_dir) => {
            let folder = Folder::open(data_dir, clock)?;
            let adopted = folder.authority(&place.keys)?.install(&issuer, &text, folder.now())?;
            folder.record(AuthorityChange::Installed, &name, &adopted).await?;
            tell(format, json!({ "installed": name }), &name, "installed", &adopted);
        }
        None => {
            let body = json!({ "issuer": name, "certificates": text, "next": next });
            let client = place.connect.client(clock)?;
            let answer = client.call(Method::POST, "/v1/ca/certificates", Some(&body)).await?;
            match format {
                Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
                Format::Table => println!("{}", sentence(&name, &answer)),
            }
        }
    }
    Ok(())
}

fn sentence(name: &str, answer: &Value) -> String {
    let text = |member: &str| answer[member].as_str().unwrap_or("?").to_owned();
    format!("{name} installed: serial {}, good until {}", text("serial"), text("notAfter"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let written = std::fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

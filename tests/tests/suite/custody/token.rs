//! Keys on a PKCS #11 token.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result};
use serde_json::json;
use signet::local::mesh::{Server, put};
use signet_tests::{
    Outsider,
    ceremony::{Signet, SoftToken, openssl, run},
    clock, machine,
};

use super::{mutual_tls, verify_strictly};

/// A folder with a token, and a `signet` that keeps its keys there.
fn on_token() -> Result<(tempfile::TempDir, SoftToken, Signet)> {
    let folder = tempfile::Builder::new().prefix("signet-token-").tempdir()?;
    let token = SoftToken::new(folder.path())?;
    let (config, uri) = (token.config(), token.uri(""));
    let signet = Signet::new(folder.path(), &[("SOFTHSM2_CONF", &config), ("SIGNET_CA_KEY", &uri)])?;
    Ok((folder, token, signet))
}

/// A program that tells of each private key of the first token whether it is sensitive, and whether it can be taken out
/// (CKA_SENSITIVE, CKA_EXTRACTABLE; PKCS #11 v2.40, section 4.9). Functions are called by their numbers in the list.
const KEYS: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
typedef unsigned long number;
struct list { unsigned char version[2]; void *functions[68]; };
struct attribute { number type; void *value; number size; };
#define CALL(index, ...) ((number (*)())list->functions[index])(__VA_ARGS__)
int main(void) {
    struct list *list;
    number slots[9], count = 9, session, key, found, class = 3;
    void *module = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
    number (*get)(struct list **) = (number (*)(struct list **))dlsym(module, "C_GetFunctionList");
    if (get(&list) || CALL(0, (void *)0) || CALL(4, 1, slots, &count)) return 1;
    if (CALL(12, slots[0], 4UL, (void *)0, (void *)0, &session) || CALL(18, session, 1UL, "1234", 4UL)) return 2;
    struct attribute wanted = {0, &class, sizeof class};
    if (CALL(26, session, &wanted, 1UL)) return 3;
    while (!CALL(27, session, &key, 1UL, &found) && found) {
        unsigned char sensitive = 9, extractable = 9;
        struct attribute read[] = {{0x103, &sensitive, 1}, {0x162, &extractable, 1}};
        if (CALL(24, session, key, read, 2UL)) return 4;
        printf("sensitive %d extractable %d\n", sensitive, extractable);
    }
    return 0;
}
"#;

/// What the token says of its private keys.
fn private_keys(folder: &Path, token: &SoftToken) -> Result<Vec<String>> {
    let path = |name: &str| folder.join(name).display().to_string();
    let (source, program) = (path("keys.c"), path("keys"));
    fs::write(&source, KEYS)?;
    run(Path::new("cc"), &["-w", "-o", &program, &source, "-ldl"])?;
    let told = run(Path::new("env"), &[&format!("SOFTHSM2_CONF={}", token.config()), &program])?;
    Ok(told.lines().map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn envoys_do_mutual_tls_while_every_key_of_the_ca_is_on_a_token() -> Result<()> {
    let _machine = machine().await?;
    let (folder, token, signet) = on_token()?;
    let presented = mutual_tls(&signet, folder.path()).await?;
    assert_eq!(presented.len(), 2, "the leaf and its issuer");
    verify_strictly(folder.path(), &presented)?;
    for place in ["root", "server", "meshes/demo"] {
        let place = signet.data().join("ca").join(place);
        assert!(!place.join("key.pem").exists(), "{} has a key file", place.display());
        let record = fs::read_to_string(place.join("key.json"))?;
        assert!(record.starts_with(r#"{"v":1,"key":"pkcs11:token=signet;object=signet%20"#), "{record}");
    }
    let keys = private_keys(folder.path(), &token)?;
    assert!(keys.len() >= 3 && keys.iter().all(|key| key == "sensitive 1 extractable 0"), "{keys:?}");
    Ok(())
}

/// A PKCS #11 module that is SoftHSM's, but for a bit of each signature while there is a file that `LIE` names. Of the
/// list of functions, C_Sign is number 43 (PKCS #11 v2.40, section 3.1).
const LIAR: &str = r#"
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
typedef unsigned long number;
struct list { unsigned char version[2]; void *functions[68]; };
static struct list ours;
static number (*theirs)(number, unsigned char *, number, unsigned char *, number *);
static number lying(number session, unsigned char *data, number size, unsigned char *signature, number *length) {
    number result = theirs(session, data, size, signature, length);
    if (result == 0 && signature && access(getenv("LIE"), F_OK) == 0) signature[*length - 1] ^= 1;
    return result;
}
number C_GetFunctionList(struct list **out) {
    struct list *list;
    void *module = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
    number (*get)(struct list **) = (number (*)(struct list **))dlsym(module, "C_GetFunctionList");
    if (get(&list)) return 5;
    ours = *list;
    theirs = (number (*)(number, unsigned char *, number, unsigned char *, number *))ours.functions[43];
    ours.functions[43] = (void *)lying;
    *out = &ours;
    return 0;
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_begins_to_sign_wrongly_halts_issuing_with_its_first_wrong_signature() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("signet-liar-").tempdir()?;
    let token = SoftToken::new(folder.path())?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (source, module, lie) = (path("liar.c"), path("liar.so"), path("lie"));
    fs::write(&source, LIAR)?;
    run(Path::new("cc"), &["-shared", "-fPIC", "-o", &module, &source, "-ldl"])?;
    let uri = token.uri("").replace("/usr/lib/softhsm/libsofthsm2.so", &module);
    let variables = [("SOFTHSM2_CONF", token.config()), ("SIGNET_CA_KEY", uri), ("LIE", lie.clone())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let signet = Signet::new(folder.path(), &variables)?;
    let server = Server::start(&signet.program, folder.path()).await?;
    let client = server.client(clock())?;
    put(&client, "meshes", json!({"meshName": "m"})).await?;
    put(&client, "meshes/m/virtualNodes", json!({"virtualNodeName": "a", "spec": {}})).await?;
    for _ in 0..3 {
        Outsider::join(&server, &client, "m", "a").await?;
    }
    fs::write(&lie, "")?;
    assert!(Outsider::join(&server, &client, "m", "a").await.is_err());
    // It signs rightly again, and nobody has looked.
    fs::remove_file(&lie)?;
    assert!(Outsider::join(&server, &client, "m", "a").await.is_err());
    let revocations = client.call(http::Method::GET, "/v1/ca/revocations", None).await?;
    let cause = revocations["halted"]["cause"].as_str().context("issuing is not halted")?;
    assert!(cause.contains("a signature was made that is not the key's"), "{cause}");
    Ok(())
}

#[test]
fn a_token_that_is_not_as_the_flags_say_is_refused_by_what_is_wrong() -> Result<()> {
    let (folder, token, _) = on_token()?;
    let config = token.config();
    let plain = || Signet::new(folder.path(), &[("SOFTHSM2_CONF", &config)]);
    let module = "module-path=/usr/lib/softhsm/libsofthsm2.so";
    let wrong_pin = folder.path().join("wrong");
    fs::write(&wrong_pin, "4321")?;
    fs::set_permissions(&wrong_pin, fs::Permissions::from_mode(0o600))?;
    let wrong = format!("pkcs11:token=signet?{module}&pin-source=file:{}", wrong_pin.display());
    let exposed = folder.path().join("exposed");
    fs::write(&exposed, "1234")?;
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o644))?;
    let open_to_all = format!("pkcs11:token=signet?{module}&pin-source=file:{}", exposed.display());
    let signet = |uri: &str| -> Result<String> { plain()?.refused(&["--ca-key", uri]) };
    for (uri, expected) in [
        (wrong.as_str(), "the token signet refuses the PIN: it is not the PIN of its user"),
        (open_to_all.as_str(), "chmod 600"),
        (&format!("pkcs11:token=signet?{module}"), "the token signet wants a PIN"),
        (
            &format!("pkcs11:token=other?{module}"),
            "0 tokens fit pkcs11:token=other, and it must be one; the module shows: \"signet\"",
        ),
        ("pkcs11:token=signet", "add ?module-path="),
        (
            "pkcs11:token=signet?module-path=/usr/lib/nothing.so",
            "the PKCS #11 module /usr/lib/nothing.so cannot be used",
        ),
        ("pkcs11:token=signet?module-path=/bin/sh", "the PKCS #11 module /bin/sh cannot be used"),
        (&format!("pkcs11:token=signet;object=root?{module}"), "names a key; it names the token alone"),
        ("pkcs11:token=signet?pin-value=1234", "a PIN does not belong into an argument"),
        ("pkcs11:token=signet;slot-id=3", "\"slot-id\" of a PKCS #11 URI is not known"),
    ] {
        let said = signet(uri)?;
        assert!(said.contains(expected), "{uri}: {expected:?} is not in {said}");
        assert!(!said.contains("4321"), "a PIN is shown: {said}");
    }
    // Nothing was made by any of them.
    assert!(!plain()?.data().join("ca/root").exists());
    Ok(())
}

/// An operator's root, `root.pem`, and its key, `root.key`.
fn operators_root(folder: &Path) -> Result<()> {
    openssl(folder, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out root.key")?;
    let root = "req -x509 -new -key root.key -subj '/O=Example/CN=Root' -days 3650 -out root.pem \
                -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign";
    openssl(folder, root)?;
    Ok(())
}

#[test]
fn a_key_that_is_no_longer_on_its_token_is_missed_at_the_start_and_none_is_made() -> Result<()> {
    let (folder, token, signet) = on_token()?;
    operators_root(folder.path())?;
    token.import(&folder.path().join("root.key"), "operator")?;
    let root = folder.path().join("root.pem").display().to_string();
    // Another key than the certificate's is found out by a signature.
    openssl(folder.path(), "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.key")?;
    let other = folder.path().join("other.key").display().to_string();
    let import = ["--import", &other, "--token", "signet", "--label", "other", "--id", "0b", "--pin", "1234"];
    token.util(&import)?;
    let refused = signet.ca(&["import", "--root", &root, "--key", &token.uri(";object=other")]);
    let refused = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("the key that goes with it is another one"), "{refused}");
    let absent = signet.ca(&["import", "--root", &root, "--key", &token.uri(";object=absent")]);
    let absent = absent.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(
        absent.contains("0 private keys on the token signet fit pkcs11:token=signet;object=absent"),
        "{absent}"
    );
    assert!(!signet.data().join("ca/root").exists());

    signet.ca(&["import", "--root", &root, "--key", &token.uri(";object=operator")])?;
    let record = signet.data().join("ca/root/key.json");
    assert_eq!(fs::read_to_string(&record)?, "{\"v\":1,\"key\":\"pkcs11:token=signet;object=operator\"}\n");
    token.util(&["--delete-token", "--token", "signet"])?;
    token.util(&["--init-token", "--free", "--label", "signet", "--pin", "1234", "--so-pin", "567890"])?;
    let missed = signet.refused(&[])?;
    assert!(
        missed.contains("0 private keys on the token signet fit") && missed.contains("root/key.json"),
        "{missed}"
    );
    let without_flag = Signet::new(folder.path(), &[("SOFTHSM2_CONF", &token.config())])?.refused(&[])?;
    assert!(
        without_flag.contains("it is on a PKCS #11 token") && without_flag.contains("--ca-key"),
        "{without_flag}"
    );
    Ok(())
}

#[test]
fn of_two_keys_or_two_tokens_that_fit_none_is_taken() -> Result<()> {
    let (folder, token, signet) = on_token()?;
    operators_root(folder.path())?;
    let key = folder.path().join("root.key");
    token.import(&key, "operator")?;
    let again = key.display().to_string();
    token.util(&[
        "--import", &again, "--token", "signet", "--label", "operator", "--id", "0c", "--pin", "1234",
    ])?;
    let root = folder.path().join("root.pem").display().to_string();
    let refused = signet.ca(&["import", "--root", &root, "--key", &token.uri(";object=operator")]);
    let refused = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(
        refused.contains("2 private keys on the token signet fit pkcs11:token=signet;object=operator"),
        "{refused}"
    );
    token.util(&["--init-token", "--free", "--label", "signet", "--pin", "1234", "--so-pin", "567890"])?;
    let refused = signet.refused(&[])?;
    assert!(refused.contains("2 tokens fit pkcs11:token=signet, and it must be one"), "{refused}");
    assert!(!signet.data().join("ca/root").exists());
    Ok(())
}

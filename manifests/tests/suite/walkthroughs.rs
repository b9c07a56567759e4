//! Inputs in the manner of App Mesh's walkthroughs: each is applied, is then unchanged, and survives every form.

use std::{fs, path::Path};

use futures::executor::block_on;
use signet_manifests::{State, export, plan::meshes};

use crate::{bundle, server::Server, settings, specs};

const FORMS: [export::Form; 3] =
    [export::Form::CloudFormation, export::Form::Kubernetes, export::Form::CliInput];

#[test]
fn every_walkthrough_is_applied_unchanged_the_second_time_and_the_same_in_every_form() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/walkthroughs");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display();
        let wanted = bundle(&fs::read_to_string(&path).unwrap());
        let server = Server::default();
        let written =
            block_on(server.apply(&wanted, true)).unwrap_or_else(|stopped| panic!("{name}: {stopped}"));
        assert_eq!(written.len(), wanted.resources.len(), "{name}");
        assert!(block_on(server.apply(&wanted, true)).unwrap().is_empty(), "{name}");
        for form in FORMS {
            let state = block_on(State::read(&server, &meshes(&wanted), |_| true)).unwrap();
            let text =
                export::text(&state.into_bundle(), form, export::Syntax::Yaml, &settings(), "ns").unwrap();
            assert_eq!(specs(&bundle(&text)), specs(&wanted), "{name} {form:?}\n{text}");
        }
        seen += 1;
    }
    assert_eq!(seen, 7);
}

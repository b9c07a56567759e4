//! Files to a bundle: each document's form is told by its members.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use signet_controlplane::model::key::Key;
use signet_policies::identity::{ResourceName, TrustDomain};

use crate::{
    cli_input, cloudformation, kubernetes,
    node::{self, Content, Node},
    place::{Fault, Faults, Place},
    resource::Bundle,
};

/// A text and where it comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Shown in front of every line number.
    pub name: String,
    /// YAML or JSON.
    pub text: String,
}

/// What files leave to whoever applies them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For documents that name no mesh, where the input has not exactly one.
    pub mesh: Option<ResourceName>,
    /// The account in ARNs, and `AWS::AccountId`.
    pub account_id: String,
    /// The region in ARNs, and `AWS::Region`.
    pub region: String,
    /// `AWS::StackName`.
    pub stack_name: Option<String>,
    /// Parameters of templates.
    pub parameters: BTreeMap<String, String>,
    /// What only AWS knows of a template's resources, by `LogicalId` or `LogicalId.Attribute`.
    pub resolved: BTreeMap<String, String>,
    /// Values that stacks export.
    pub imports: BTreeMap<String, String>,
    /// The server's, so that names of secrets are held to it; where it is not known, the server alone does that.
    pub trust_domain: Option<TrustDomain>,
}

impl Settings {
    /// The account and region that a server has unless it is told otherwise, and nothing else.
    #[must_use]
    pub fn new(account_id: impl Into<String>, region: impl Into<String>) -> Self {
        Self {
            mesh: None,
            account_id: account_id.into(),
            region: region.into(),
            stack_name: None,
            parameters: BTreeMap::new(),
            resolved: BTreeMap::new(),
            imports: BTreeMap::new(),
            trust_domain: None,
        }
    }

    /// The ARN of a resource.
    #[must_use]
    pub fn arn(&self, key: &Key) -> String {
        let partition = match &self.region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        format!("arn:{partition}:appmesh:{}:{}:{key}", self.region, self.account_id)
    }
}

/// Reads everything, or nothing.
///
/// # Errors
/// Every document that is not what it should be, by file and line.
pub fn read(sources: &[Source], settings: &Settings) -> Result<Bundle, Faults> {
    let mut reading = Reading { settings, bundle: Bundle::default(), faults: Vec::new(), parameters: None };
    let mut objects = Vec::new();
    let mut documents = Vec::new();
    for source in sources {
        let file: Arc<str> = source.name.as_str().into();
        match node::documents(&file, &source.text) {
            Ok(found) => documents.extend(found),
            Err(fault) => reading.faults.push(fault),
        }
    }
    for document in &documents {
        reading.document(document, &mut objects);
    }
    kubernetes::read(&objects, settings, &mut reading.bundle, &mut reading.faults);
    reading.check_parameters(sources);
    let Reading { bundle, mut faults, .. } = reading;
    match faults.is_empty() {
        true => Ok(bundle),
        false => {
            faults.sort();
            faults.dedup();
            Err(Faults(faults))
        }
    }
}

struct Reading<'a> {
    settings: &'a Settings,
    bundle: Bundle,
    faults: Vec<Fault>,
    /// What the templates take; absent where there is no template.
    parameters: Option<BTreeSet<String>>,
}

impl Reading<'_> {
    fn document<'n>(&mut self, document: &'n Node, objects: &mut Vec<&'n Node>) {
        if kubernetes::is_object(document) {
            objects.push(document);
        } else if cloudformation::is_template(document) {
            let taken = cloudformation::read(document, self.settings, &mut self.bundle, &mut self.faults);
            self.parameters.get_or_insert_default().extend(taken);
        } else if cli_input::is_input(document) {
            let read = cli_input::read(document, self.settings, &mut self.bundle.notes);
            let read = read.and_then(|resource| self.bundle.add(resource));
            self.faults.extend(read.err());
        } else if let Content::List(items) = &document.content
            && document.tag.is_none()
            && !items.is_empty()
        {
            for item in items {
                self.document(item, objects);
            }
        } else {
            let what = "is none of a CloudFormation template (Resources), a Kubernetes manifest (apiVersion and kind) \
                        and the input of an `aws appmesh create-…` command (meshName and spec)";
            self.faults.push(document.fault(what));
        }
    }

    /// A parameter that no template takes is a slip of the pen.
    fn check_parameters(&mut self, sources: &[Source]) {
        let Some(taken) = &self.parameters else { return };
        for name in self.settings.parameters.keys().filter(|name| !taken.contains(*name)) {
            let file = sources.first().map_or("", |source| &source.name);
            let place = Place { file: file.into(), line: 1 };
            self.faults.push(place.fault(format!("no template has a parameter {name}")));
        }
    }
}

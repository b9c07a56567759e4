use std::{collections::HashMap, time::SystemTime};

use signet_policies::identity::SpiffeId;
use signet_xds::pb::{
    envoy::{
        config::core::v3::{BuildVersion, node::UserAgentVersionType},
        r#type::v3::SemanticVersion,
    },
    google::protobuf::{Struct, Value, value::Kind},
};
use tonic::Code;

use super::*;
use crate::{
    model::{Mesh, VirtualGateway, VirtualNode},
    translate::Interception,
};

fn text(value: &str) -> Value {
    Value { kind: Some(Kind::StringValue(value.into())) }
}

fn members<const N: usize>(members: [(&str, Value); N]) -> Struct {
    Struct { fields: HashMap::from(members.map(|(name, value)| (name.to_owned(), value))) }
}

/// A node as the agent describes it.
fn node(id: &str) -> Node {
    let signet = members([
        ("interception", text("none")),
        ("ingressAddress", text("127.0.0.11")),
        ("egressPort", text("15001")),
    ]);
    let version = SemanticVersion { major_number: 1, minor_number: 40, patch: 0 };
    let build = BuildVersion { version: Some(version), metadata: None };
    Node {
        id: id.into(),
        metadata: Some(members([("signet", Value { kind: Some(Kind::StructValue(signet)) })])),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(build)),
        ..Node::default()
    }
}

/// A node whose description differs in one member; `None` leaves it out.
fn node_with(member: &str, value: Option<Value>) -> Node {
    let mut node = node("mesh/m/virtualNode/a");
    let Some(Value { kind: Some(Kind::StructValue(signet)) }) =
        node.metadata.as_mut().and_then(|metadata| metadata.fields.get_mut("signet"))
    else {
        unreachable!("a node as the agent describes it");
    };
    match value {
        Some(value) => drop(signet.fields.insert(member.into(), value)),
        None => drop(signet.fields.remove(member)),
    }
    node
}

fn holder(id: &str) -> Option<Caller> {
    Some(Caller::Holder(id.parse::<SpiffeId>().unwrap()))
}

fn ads() -> Ads {
    ads_at(Arc::new(|| SystemTime::UNIX_EPOCH))
}

fn ads_at(clock: Clock) -> Ads {
    let mut mesh = Mesh::default();
    for name in ["a", "b"] {
        mesh.virtual_nodes.insert(name.parse().unwrap(), VirtualNode::default().into());
    }
    mesh.virtual_gateways.insert("g".parse().unwrap(), VirtualGateway::default().into());
    let model = Model { meshes: [("m".parse().unwrap(), mesh.into())].into(), ..Model::default() };
    let (_, model) = watch::channel(Arc::new(model));
    Ads::new(Proxies::new(Arc::clone(&clock)), model, "td".parse().unwrap(), clock)
}

/// The code and the words of the answer; `None` where the stream is admitted.
fn opens(ads: &Ads, caller: Option<Caller>, node: Option<&Node>) -> Option<(Code, String)> {
    let mut extensions = Extensions::new();
    if let Some(caller) = caller {
        extensions.insert(caller);
    }
    let refused = ads.open(&extensions, node).err()?;
    Some((refused.code(), refused.message().to_owned()))
}

#[test]
fn a_node_is_admitted_under_both_spellings_of_its_id_and_listed_while_its_stream_lives() {
    let ads = ads();
    for id in ["mesh/m/virtualNode/a", "arn:aws:appmesh:us-east-1:000000000000:mesh/m/virtualNode/a"] {
        let mut extensions = Extensions::new();
        extensions.insert(holder("spiffe://td/mesh/m/virtual-node/a").unwrap());
        let feed = ads.open(&extensions, Some(&node(id))).unwrap_or_else(|refused| panic!("{id}: {refused}"));
        let listed = ads.proxies.list();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].workload, "mesh/m/virtualNode/a");
        assert_eq!(listed[0].envoy.as_deref(), Some("1.40.0"));
        assert_eq!(listed[0].connected_since, "1970-01-01T00:00:00Z");
        drop(feed);
        assert!(ads.proxies.list().is_empty());
    }
}

#[test]
fn one_proxy_more_than_a_quota_is_told_so_until_one_goes() {
    let mut quotas = Quotas::default();
    quotas.set("envoys-per-virtual-node=2").unwrap();
    let ads = ads().within(quotas);
    let open = |name: &str| {
        let mut extensions = Extensions::new();
        extensions.insert(holder(&format!("spiffe://td/mesh/m/virtual-node/{name}")).unwrap());
        ads.open(&extensions, Some(&node(&format!("mesh/m/virtualNode/{name}"))))
    };
    let (first, second) = (open("a"), open("a"));
    assert!(first.is_ok() && second.is_ok());
    let refused = open("a").err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("--quota envoys-per-virtual-node=N"), "{refused}");
    assert!(open("b").is_ok(), "others have their own");
    drop(first);
    assert!(open("a").is_ok());
}

#[test]
fn only_the_node_itself_gets_its_configuration() {
    let own = "spiffe://td/mesh/m/virtual-node/a";
    let joining = Caller::Joining(Workload::virtual_node("m", "a").unwrap());
    let cases = [
        (None, Code::Unauthenticated),
        (Some(Caller::Anonymous), Code::Unauthenticated),
        (Some(joining), Code::Unauthenticated),
        (holder("spiffe://other/mesh/m/virtual-node/a"), Code::PermissionDenied),
        (holder("spiffe://td/signet/server"), Code::PermissionDenied),
        (holder("spiffe://td/team/a"), Code::PermissionDenied),
        (holder("spiffe://td/mesh/m/virtual-node/b"), Code::PermissionDenied),
        (holder("spiffe://td/mesh/n/virtual-node/a"), Code::PermissionDenied),
        (holder("spiffe://td/mesh/m/virtual-gateway/a"), Code::PermissionDenied),
        (holder(own), Code::Ok),
    ];
    let ads = ads();
    for (caller, expected) in cases {
        let answer = opens(&ads, caller.clone(), Some(&node("mesh/m/virtualNode/a")));
        assert_eq!(answer.map_or(Code::Ok, |(code, _)| code), expected, "{caller:?}");
    }
    assert!(ads.proxies.list().is_empty(), "a refused stream leaves no trace");
}

#[test]
fn a_node_that_is_not_there_is_refused_with_the_code_that_app_mesh_had_for_it() {
    for (id, node_id) in [
        ("spiffe://td/mesh/m/virtual-node/c", "mesh/m/virtualNode/c"),
        ("spiffe://td/mesh/n/virtual-node/a", "mesh/n/virtualNode/a"),
        ("spiffe://td/mesh/m/virtual-gateway/a", "mesh/m/virtualGateway/a"),
    ] {
        let (code, words) = opens(&ads(), holder(id), Some(&node(node_id))).unwrap();
        assert_eq!(code, Code::InvalidArgument);
        assert!(words.starts_with(&format!("{node_id} does not exist")), "{words}");
    }
}

#[test]
fn an_ingress_address_at_which_the_proxy_would_call_itself_is_refused() {
    let own = || holder("spiffe://td/mesh/m/virtual-node/a");
    for address in ["0.0.0.0", "::", "127.0.0.1", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0"] {
        let node = node_with("ingressAddress", Some(text(address)));
        let (code, words) = opens(&ads(), own(), Some(&node)).unwrap();
        assert_eq!(code, Code::InvalidArgument, "{address}");
        assert!(words.contains("give the agent another --ingress-address"), "{words}");
    }
    for address in ["127.0.0.12", "10.0.0.7", "fd00::7"] {
        let node = node_with("ingressAddress", Some(text(address)));
        assert_eq!(opens(&ads(), own(), Some(&node)), None, "{address}");
    }
}

/// No application is beside it, so it may serve on every address.
#[test]
fn a_gateway_is_admitted_as_what_it_is() {
    let gateway = || holder("spiffe://td/mesh/m/virtual-gateway/g");
    for address in ["0.0.0.0", "127.0.0.1", "10.0.0.7"] {
        let id = "mesh/m/virtualGateway/g".to_owned();
        let node = Node { id, ..node_with("ingressAddress", Some(text(address))) };
        assert_eq!(opens(&ads(), gateway(), Some(&node)), None, "{address}");
    }
    let (code, _) = opens(&ads(), gateway(), Some(&node("mesh/m/virtualNode/g"))).unwrap();
    assert_eq!(code, Code::PermissionDenied);
}

#[test]
fn a_proxy_that_says_nothing_of_itself_is_redirected_to_as_app_meshs_were() {
    let plain = |kind: &str| Node { id: format!("mesh/m/{kind}/a"), ..Node::default() };
    let (proxy, _) = describe(&plain("virtualNode")).unwrap();
    assert_eq!(proxy.interception, Interception::Redirected { ingress_port: 15_000.try_into().unwrap() });
    assert_eq!(proxy.egress_port.get(), 15_001);
    let (gateway, _) = describe(&plain("virtualGateway")).unwrap();
    assert_eq!(
        (gateway.interception, gateway.ingress_address.to_string()),
        (Interception::None, "0.0.0.0".into())
    );
}

#[test]
fn a_description_that_is_not_understood_is_refused_with_what_to_do() {
    let cases = [
        (None, "the first request has no node"),
        (Some(node("service-a")), "the node id names no workload"),
        (
            Some(node_with("interception", Some(text("ebpf")))),
            "run the agent with --interception none or iptables",
        ),
        (
            Some(node_with("ingressAddress", None)),
            "node.metadata.signet.ingressAddress must be an IP address",
        ),
        (
            Some(node_with("ingressAddress", Some(text("localhost")))),
            "must be an IP address, not \"localhost\"",
        ),
        (Some(node_with("egressPort", Some(text("0")))), "node.metadata.signet.egressPort must be a port"),
        (
            Some(node_with("egressPort", Some(Value { kind: Some(Kind::NumberValue(1.0)) }))),
            "must be a port, as text",
        ),
    ];
    for (node, expected) in cases {
        let caller = holder("spiffe://td/mesh/m/virtual-node/a");
        let (code, words) = opens(&ads(), caller, node.as_ref()).unwrap();
        assert_eq!(code, Code::InvalidArgument, "{words}");
        assert!(words.contains(expected), "{words:?} does not say {expected:?}");
    }
}

/// The feed of node a, whose certificate ends after some seconds.
fn feed_of_a(ads: &Ads, seconds: u64) -> Result<Feed, Refusal> {
    let mut extensions = Extensions::new();
    extensions.insert(holder("spiffe://td/mesh/m/virtual-node/a").unwrap());
    extensions.insert(ValidUntil(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)));
    ads.open(&extensions, Some(&node("mesh/m/virtualNode/a")))
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_certificate_does_and_none_is_opened_with_it_afterwards() {
    let start = tokio::time::Instant::now();
    let ads = ads_at(Arc::new(move || SystemTime::UNIX_EPOCH + start.elapsed()));
    let mut feed = feed_of_a(&ads, 3600).unwrap();
    let refusal = feed.end.as_mut().await;
    assert_eq!(refusal.code(), Code::Unauthenticated);
    assert!(refusal.message().contains("mesh/m/virtualNode/a has expired"), "{}", refusal.message());
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(3600) && took < Duration::from_secs(3601), "{took:?}");
    let refused = feed_of_a(&ads, 3600).err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(feed_of_a(&ads, 7200).is_ok(), "its successor is good");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_own_code_when_its_certificate_is_revoked_or_its_identity_banned() {
    let ads = ads();
    for (why, code, words) in [
        (Dismissed::Certificate, Code::Unauthenticated, "mesh/m/virtualNode/a was revoked"),
        (Dismissed::Identity, Code::PermissionDenied, "mesh/m/virtualNode/a is banned"),
    ] {
        let (dismiss, dismissed) = watch::channel(None);
        let mut extensions = Extensions::new();
        extensions.insert(holder("spiffe://td/mesh/m/virtual-node/a").unwrap());
        extensions.insert(Welcome::until(move || {
            let mut dismissed = dismissed.clone();
            Box::pin(async move { dismissed.wait_for(Option::is_some).await.unwrap().unwrap() })
        }));
        let mut feed = ads.open(&extensions, Some(&node("mesh/m/virtualNode/a"))).unwrap();
        let waits = tokio::time::timeout(Duration::from_secs(3600), feed.end.as_mut()).await;
        assert!(waits.is_err(), "{waits:?}");
        dismiss.send_replace(Some(why));
        let refusal = feed.end.as_mut().await;
        assert_eq!(refusal.code(), code);
        assert!(refusal.message().contains(words), "{}", refusal.message());
    }
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_a_node_that_is_deleted_ends_with_the_code_that_app_mesh_had_for_it() {
    let ads = ads();
    let mut feed = feed_of_a(&ads, 3600).unwrap();
    let [key] = ads.proxies.look(|entries| entries.map(|(key, _)| key).collect::<Vec<_>>())[..] else {
        panic!("one proxy is connected");
    };
    ads.proxies.publish(vec![crate::proxies::Told { key, snapshot: None, cause: Arc::default() }]);
    let refusal = feed.end.as_mut().await;
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().starts_with("mesh/m/virtualNode/a does not exist"), "{}", refusal.message());
}

#[test]
fn replicas_that_are_alike_are_told_apart_by_what_their_agents_say() {
    let ads = ads();
    let mut extensions = Extensions::new();
    extensions.insert(holder("spiffe://td/mesh/m/virtual-node/a").unwrap());
    let open = |instance: &str| ads.open(&extensions, Some(&node_with("instance", Some(text(instance)))));
    let (first, second) = (open("pod-1").unwrap(), open("pod-2").unwrap());
    let instances = || ads.proxies.list().into_iter().filter_map(|view| view.instance).collect::<Vec<_>>();
    assert_eq!(instances(), ["pod-1", "pod-2"]);
    drop((first, second));
    let left = || ads.proxies.look(|entries| entries.filter(|(_, entry)| entry.gone().is_some()).count());
    let _another = open("pod-3").unwrap();
    assert_eq!(left(), 2, "pod-3 takes nobody's place");
    let _back = open("pod-2").unwrap();
    assert_eq!(left(), 1, "pod-1 is still waited for, pod-2 is back");
}

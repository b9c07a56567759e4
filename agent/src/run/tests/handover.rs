//! An Envoy that runs with another bootstrap than the one that is wanted.

use super::*;

/// The number by which an Envoy shares its memory with the next.
fn base_id(envoy: i32) -> String {
    let arguments = arguments(envoy);
    let (_, after) = arguments.split_once("--base-id ").unwrap();
    after.split(' ').next().unwrap().to_owned()
}

/// What makes another bootstrap.
fn with_another_ingress(node: &Node) -> AgentConfig {
    AgentConfig { ingress_address: Ipv4Addr::new(127, 0, 0, 9).into(), ..node.config(None) }
}

#[tokio::test]
async fn from_an_envoy_with_another_bootstrap_a_new_one_takes_over_before_the_agent_is_ready() {
    let node = Node::new(Setup::default()).await;
    let before = node.left_behind(node.config(Some(TOKEN))).await;

    let mut second = node.live(with_another_ingress(&node));
    // The one before answers first, and is not taken for the new one.
    let mut asked = node.admin_asked.clone();
    asked.mark_unchanged();
    let is_asked =
        |asked: &Vec<String>| asked.iter().filter(|line| line.contains("/server_info")).count() > 3;
    timeout(PATIENCE, asked.wait_for(is_asked)).await.unwrap().unwrap();
    assert!(second.ready.try_recv().is_err());
    node.admin_epoch.send_replace(1);
    let after = second.ready().await;
    assert!(!after.adopted && is_running(before.envoy_pid) && is_running(after.envoy_pid));
    assert_eq!(base_id(after.envoy_pid), base_id(before.envoy_pid));
    assert!(arguments(after.envoy_pid).contains(" --restart-epoch 1 "));
    second.stop().await;
    assert!(!is_running(before.envoy_pid) && !is_running(after.envoy_pid), "both end with the agent");
}

#[tokio::test]
async fn a_new_envoy_that_could_not_be_started_leaves_the_one_before_known_as_such() {
    let node = Node::new(Setup::default()).await;
    let before = node.left_behind(node.config(Some(TOKEN))).await;

    let mut config = with_another_ingress(&node);
    config.envoy.path = node.path("nowhere/envoy");
    let error = node.live(config).end().await.unwrap_err();
    assert!(matches!(error, AgentError::Envoy(EnvoyError::Start { .. })), "{error}");
    assert!(is_running(before.envoy_pid));

    let mut last = node.live(with_another_ingress(&node));
    node.admin_epoch.send_replace(1);
    let after = last.ready().await;
    assert!(!after.adopted && after.envoy_pid != before.envoy_pid);
    last.stop().await;
    assert!(!is_running(before.envoy_pid) && !is_running(after.envoy_pid));
}

#[tokio::test]
async fn where_the_new_envoy_does_not_take_over_the_one_before_is_ended_and_another_started() {
    let node = Node::new(Setup::default()).await;
    let before = node.left_behind(node.config(Some(TOKEN))).await;
    // As an Envoy of another version does.
    node.install(&STAYS.replace("trap", "case \"$*\" in *'--restart-epoch 1 '*) exit 1;; esac\ntrap"));
    let mut second = node.live(with_another_ingress(&node));
    let after = second.ready().await;
    assert!(!is_running(before.envoy_pid) && arguments(after.envoy_pid).contains(" --restart-epoch 0 "));
    second.stop().await;
}

#[tokio::test]
async fn an_envoy_that_stays_alone_is_ended_before_one_with_another_bootstrap_starts() {
    let node = Node::new(Setup::default()).await;
    let mut config = node.config(Some(TOKEN));
    config.envoy.args.push("--base-id 7".to_owned());
    let before = node.left_behind(config).await;
    let mut second = node.live(with_another_ingress(&node));
    let after = second.ready().await;
    assert!(!after.adopted && !is_running(before.envoy_pid) && is_running(after.envoy_pid));
    assert!(arguments(after.envoy_pid).contains(" --restart-epoch 0 "));
    second.stop().await;
}

#[tokio::test]
async fn memory_that_cannot_be_removed_is_passed_over_and_the_next_envoy_meets_the_one_before_where_that_is()
{
    let node = Node::new(Setup::default()).await;
    let mut first = node.live(node.config(Some(TOKEN)));
    let number = base_id(first.ready().await.envoy_pid);
    // As a real Envoy makes it, and leaves it.
    let memory = PathBuf::from(format!("/dev/shm/envoy_shared_memory_{number}0"));
    fs::write(&memory, "shared").unwrap();
    first.stop().await;
    assert!(!memory.exists(), "an agent that ends leaves nothing");

    // As another user's file is to all but root.
    fs::create_dir(&memory).unwrap();
    let mut second = node.live(node.config(None));
    let before = second.ready().await;
    assert_ne!(base_id(before.envoy_pid), number);
    fs::remove_dir(&memory).unwrap();
    second.kill().await;

    let mut third = node.live(with_another_ingress(&node));
    node.admin_epoch.send_replace(1);
    let after = third.ready().await;
    assert_eq!(base_id(after.envoy_pid), base_id(before.envoy_pid));
    assert!(arguments(after.envoy_pid).contains(" --restart-epoch 1 "));
    third.stop().await;
}

#[tokio::test]
async fn an_agent_whose_folder_was_removed_leaves_no_memory_either() {
    let node = Node::new(Setup::default()).await;
    let mut first = node.live(node.config(Some(TOKEN)));
    let number = base_id(first.ready().await.envoy_pid);
    let memory = PathBuf::from(format!("/dev/shm/envoy_shared_memory_{number}0"));
    fs::write(&memory, "shared").unwrap();
    fs::remove_dir_all(node.path("state")).unwrap();
    first.stop().await;
    assert!(!memory.exists());
}

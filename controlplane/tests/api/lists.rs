use serde_json::{Value, json};

use crate::client::Api;

async fn create(api: &Api, name: &str) {
    api.must("PUT", "/meshes", Some(&json!({"meshName": name}))).await;
}

fn names(page: &Value) -> Vec<&str> {
    page["meshes"].as_array().unwrap().iter().map(|mesh| mesh["meshName"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_show_each_resource_once_although_others_come_and_go() {
    let api = Api::new();
    for name in ["b", "d", "f", "h"] {
        create(&api, name).await;
    }
    let first = api.must("GET", "/meshes?limit=2", None).await;
    assert_eq!(names(&first), ["b", "d"]);
    // One before, one after, and the very one that the token is about.
    create(&api, "a").await;
    create(&api, "e").await;
    api.must("DELETE", "/meshes/d", None).await;
    let token = first["nextToken"].as_str().unwrap();
    let second = api.must("GET", &format!("/meshes?limit=2&nextToken={token}"), None).await;
    assert_eq!(names(&second), ["e", "f"]);
    let token = second["nextToken"].as_str().unwrap();
    let last = api.must("GET", &format!("/meshes?nextToken={token}"), None).await;
    assert_eq!((names(&last), last.get("nextToken")), (vec!["h"], None));
}

#[tokio::test]
async fn a_page_holds_100_at_most_and_a_full_last_one_has_no_token() {
    let api = Api::new();
    for index in 0..101 {
        create(&api, &format!("m{index:03}")).await;
    }
    let first = api.must("GET", "/meshes", None).await;
    assert_eq!((names(&first).len(), first["nextToken"].is_string()), (100, true));
    api.must("DELETE", "/meshes/m100", None).await;
    let all = api.must("GET", "/meshes?limit=100", None).await;
    assert_eq!((names(&all).len(), all.get("nextToken")), (100, None));
}

#[tokio::test]
async fn bad_limits_and_tokens_are_refused() {
    let api = Api::new();
    api.furnish().await;
    for limit in ["0", "101", "-1", "1.5", "x", "", "99999999999999999999"] {
        let answer = api.call("GET", &format!("/meshes?limit={limit}"), None).await;
        assert_eq!(answer.error(), (400, "BadRequestException", "limit: must be 1 to 100"), "{limit}");
    }
    let page = api.must("GET", "/meshes/m/virtualNodes?limit=1", None).await;
    let foreign = page["nextToken"].as_str().unwrap();
    let own = api.must("PUT", "/meshes", Some(&json!({"meshName": "n"}))).await;
    assert_eq!(own["meshName"], "n");
    let page = api.must("GET", "/meshes?limit=1", None).await;
    let own = page["nextToken"].as_str().unwrap();
    // Its last character is half a letter of the name; its first is of the signature.
    let (other_name, other_mac) =
        (format!("{}f", &own[..own.len() - 1]), format!("{:x}{}", (own.as_bytes()[0] & 1) ^ 1, &own[1..]));
    for token in ["", "x", "00", "ff", foreign, &other_name, &other_mac, &own[..32]] {
        let answer = api.call("GET", &format!("/meshes?nextToken={token}"), None).await;
        let expected = (400, "BadRequestException", "nextToken: it is not one that this list gave");
        assert_eq!(answer.error(), expected, "{token}");
    }
}

#[tokio::test]
async fn a_list_of_what_is_not_there_is_not_an_empty_one() {
    let api = Api::new();
    api.furnish().await;
    assert_eq!(api.must("GET", "/meshes/m/virtualServices", None).await, json!({"virtualServices": []}));
    let answer = api.call("GET", "/meshes/n/virtualServices", None).await;
    let message = "Mesh with name n is not present for account 000000000000";
    assert_eq!(answer.error(), (404, "NotFoundException", message));
    let answer = api.call("GET", "/meshes/m/virtualRouter/q/routes", None).await;
    let message = "VirtualRouter with name q is not present under mesh m for account 000000000000";
    assert_eq!(answer.error(), (404, "NotFoundException", message));
}

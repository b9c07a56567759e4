use std::time::Duration;

use aws_sigv4::http_request::{PayloadChecksumKind, SignatureLocation, SigningSettings};
use http::{HeaderValue, Request, Uri};

use crate::client::{ACCESS_KEY, Api, REGION, SECRET_KEY, request, signed, signed_by};

const LIST: &str = "/v20190125/meshes";

fn get(path: &str) -> Request<Vec<u8>> {
    request("GET", path, b"")
}

fn in_query(expires: Duration) -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(expires);
    settings
}

fn with_body_hash() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}

async fn refusal(api: &Api, request: Request<Vec<u8>>) -> (u16, String, String) {
    let answer = api.send(request).await;
    let (status, code, message) = answer.error();
    (status, code.to_owned(), message.to_owned())
}

/// Refused as not being what was signed.
async fn assert_mismatch(api: &Api, request: Request<Vec<u8>>, what: &str) {
    let (status, code, message) = refusal(api, request).await;
    assert_eq!((status, &*code), (403, "InvalidSignatureException"), "{what}: {message}");
}

#[tokio::test]
async fn what_the_sdk_signs_is_let_pass_whatever_the_path_and_query() {
    let api = Api::new();
    api.furnish().await;
    let odd_paths = [
        "/v20190125/meshes",
        "/v20190125/meshes?limit=5",
        "/v20190125/meshes?nextToken=&limit=7",
        "/v20190125/meshes?b=2&a=1&a=0&=x&c",
        "/v20190125/meshes?q=a%20b%2Fc%3D%26%C3%A9~-_.%2B",
        "/v20190125/meshes?limit=%35",
        "/v20190125/meshes/m",
        "/v20190125/meshes/%6D",
        "/v20190125/meshes/m/virtualNodes/a%20b%2Fc",
        "/v20190125/meshes/m/virtualNodes/%C3%A9!$'()*,:;=@",
        "/v20190125/meshes/",
        "/",
    ];
    for path in odd_paths {
        for settings in [SigningSettings::default(), with_body_hash(), in_query(Duration::from_secs(60))] {
            let answer = api.send(signed(get(path), api.now(), settings.clone())).await;
            assert_ne!(answer.status, 403, "{path} {settings:?}: {}", answer.body);
        }
    }
    let body = br#"{"meshName":"n"}"#;
    for (settings, expected) in [(with_body_hash(), 200), (in_query(Duration::from_secs(1)), 409)] {
        let answer = api.send(signed(request("PUT", LIST, body), api.now(), settings)).await;
        assert_eq!(answer.status, expected, "{}", answer.body);
    }
}

#[tokio::test]
async fn headers_are_signed_with_their_white_space_made_single() {
    let api = Api::new();
    let mut spaced = get(LIST);
    spaced.headers_mut().insert("x-amz-meta", HeaderValue::from_static("  a   b  "));
    let answer = api.send(signed(spaced, api.now(), SigningSettings::default())).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn whatever_is_changed_after_signing_is_noticed() {
    let api = Api::new();
    let original =
        || signed(request("PUT", LIST, br#"{"meshName":"n"}"#), api.now(), SigningSettings::default());
    type Change = fn(&mut Request<Vec<u8>>);
    let changes: [(&str, Change); 9] = [
        ("body", |request| *request.body_mut() = br#"{"meshName":"o"}"#.to_vec()),
        ("no body", |request| request.body_mut().clear()),
        ("method", |request| *request.method_mut() = http::Method::DELETE),
        ("path", |request| *request.uri_mut() = Uri::from_static("/v20190125/meshes/m")),
        ("spelling of the path", |request| *request.uri_mut() = Uri::from_static("/v20190125/%6Deshes")),
        ("query", |request| *request.uri_mut() = Uri::from_static("/v20190125/meshes?limit=1")),
        ("host", |request| drop(request.headers_mut().insert("host", HeaderValue::from_static("elsewhere")))),
        ("time", |request| {
            request.headers_mut().insert("x-amz-date", HeaderValue::from_static("20201122T051452Z"));
        }),
        ("signature", |request| {
            let text = request.headers()["authorization"].to_str().unwrap().to_owned();
            let (rest, last) = text.split_at(text.len() - 1);
            let other = if last == "0" { "1" } else { "0" };
            request.headers_mut().insert("authorization", format!("{rest}{other}").parse().unwrap());
        }),
    ];
    for (what, change) in changes {
        let mut request = original();
        change(&mut request);
        assert_mismatch(&api, request, what).await;
    }
    assert_eq!(api.store.subscribe().borrow().revision, 0);
    assert_eq!(api.send(original()).await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_not_the_hashed_one_is_refused_although_the_hash_is_signed() {
    let api = Api::new();
    let mut request = signed(request("PUT", LIST, br#"{"meshName":"n"}"#), api.now(), with_body_hash());
    *request.body_mut() = br#"{"meshName":"o"}"#.to_vec();
    let (status, code, message) = refusal(&api, request).await;
    assert_eq!((status, &*code), (403, "InvalidSignatureException"));
    assert!(message.contains("x-amz-content-sha256"), "{message}");
}

#[tokio::test]
async fn a_body_that_the_signature_leaves_out_is_refused() {
    let api = Api::new();
    let mut request = request("PUT", LIST, br#"{"meshName":"n"}"#);
    request.headers_mut().insert("x-amz-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
    let (_, code, message) = refusal(&api, signed(request, api.now(), SigningSettings::default())).await;
    assert_eq!(code, "InvalidSignatureException");
    assert!(message.contains("UNSIGNED-PAYLOAD is not accepted"), "{message}");
}

#[tokio::test]
async fn temporary_credentials_are_told_that_there_are_none() {
    let api = Api::new();
    let mut in_header = get(LIST);
    in_header.headers_mut().insert("x-amz-security-token", HeaderValue::from_static("FwoGZXIvYXdzE"));
    for request in [in_header, get("/v20190125/meshes?X-Amz-Security-Token=x")] {
        let signed = signed(request, api.now(), SigningSettings::default());
        let (status, code, message) = refusal(&api, signed).await;
        assert_eq!((status, &*code), (403, "UnrecognizedClientException"));
        assert!(message.contains("unset AWS_SESSION_TOKEN"), "{message}");
    }
}

#[tokio::test]
async fn two_signatures_or_two_of_a_part_leave_nothing_to_choose_from() {
    let api = Api::new();
    let presigned = signed(get(LIST), api.now(), in_query(Duration::from_secs(60)));
    let both = signed(get(&presigned.uri().to_string()), api.now(), SigningSettings::default());
    assert!(refusal(&api, both).await.2.contains("not in both"));
    let mut twice = presigned.clone();
    *twice.uri_mut() = format!("{}&X-Amz-Expires=60", presigned.uri()).parse().unwrap();
    assert!(refusal(&api, twice).await.2.contains("X-Amz-Expires twice"));
    let original = signed(get(LIST), api.now(), SigningSettings::default());
    let text = original.headers()["authorization"].to_str().unwrap().to_owned();
    let (mut doubled, mut unsorted) = (original.clone(), original);
    doubled
        .headers_mut()
        .insert("authorization", format!("{text}, Signature={}", "0".repeat(64)).parse().unwrap());
    assert!(refusal(&api, doubled).await.2.contains("Signature twice"));
    let swapped = text.replace("SignedHeaders=content-type;host;", "SignedHeaders=host;content-type;");
    assert_ne!(swapped, text);
    unsorted.headers_mut().insert("authorization", swapped.parse().unwrap());
    let (status, code, message) = refusal(&api, unsorted).await;
    assert_eq!((status, &*code), (400, "IncompleteSignatureException"));
    assert!(message.contains("sorted"), "{message}");
}

#[tokio::test]
async fn a_path_that_signers_rewrite_cannot_stand_for_another() {
    let api = Api::new();
    api.furnish().await;
    for path in ["/v20190125/meshes/m/virtualNodes/..", "/v20190125/meshes/m/.", "/v20190125//meshes/m"] {
        let mut replayed = signed(get("/v20190125/meshes/m"), api.now(), SigningSettings::default());
        *replayed.uri_mut() = path.parse().unwrap();
        for request in [replayed, signed(get(path), api.now(), SigningSettings::default())] {
            let (status, code, message) = refusal(&api, request).await;
            assert_eq!((status, &*code), (403, "InvalidSignatureException"), "{path}");
            assert!(message.contains("segments"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_signature_holds_for_five_minutes_either_way() {
    let api = Api::new();
    let minute = Duration::from_secs(60);
    for (offset, is_early, expected) in [
        (minute * 5, true, 200),
        (minute * 5 + minute, true, 403),
        (minute * 5, false, 200),
        (minute * 6, false, 403),
    ] {
        let at = if is_early { api.now() - offset } else { api.now() + offset };
        let answer = api.send(signed(get(LIST), at, SigningSettings::default())).await;
        assert_eq!(answer.status, expected, "{offset:?} {}", answer.body);
        if expected == 403 {
            let part = if is_early { "Signature expired: 2020" } else { "Signature not yet current: 2020" };
            assert_eq!(answer.error().1, "InvalidSignatureException");
            assert!(answer.error().2.starts_with(part), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_signature_in_a_query_holds_as_long_as_it_says() {
    let api = Api::new();
    let presigned = signed(get(LIST), api.now(), in_query(Duration::from_secs(3600)));
    api.pass(Duration::from_secs(3600));
    assert_eq!(api.send(presigned.clone()).await.status, 200);
    api.pass(Duration::from_secs(1));
    assert_mismatch(&api, presigned, "expired").await;
    let too_long = signed(get(LIST), api.now(), in_query(Duration::from_secs(8 * 24 * 3600)));
    assert_eq!(refusal(&api, too_long).await.1, "IncompleteSignatureException");
}

#[tokio::test]
async fn strangers_are_told_apart_in_the_codes_that_clients_know() {
    let api = Api::new();
    let by = |keys, scope| signed_by(get(LIST), api.now(), SigningSettings::default(), keys, scope);
    let scope = (REGION, "appmesh");
    let unsigned = get(LIST);
    let rows = [
        (unsigned, 403, "MissingAuthenticationTokenException", "Missing Authentication Token"),
        (
            by(("AKIAOTHER", SECRET_KEY), scope),
            403,
            "UnrecognizedClientException",
            "\"AKIAOTHER\" is not known",
        ),
        (by((ACCESS_KEY, "guess"), scope), 403, "InvalidSignatureException", "does not match"),
        (
            by((ACCESS_KEY, SECRET_KEY), ("eu-west-1", "appmesh")),
            403,
            "InvalidSignatureException",
            "\"us-east-1\"",
        ),
        (by((ACCESS_KEY, SECRET_KEY), (REGION, "s3")), 403, "InvalidSignatureException", "\"appmesh\""),
    ];
    for (request, status, code, part) in rows {
        let (found_status, found_code, message) = refusal(&api, request).await;
        assert_eq!((found_status, &*found_code), (status, code), "{message}");
        assert!(message.contains(part), "{message}");
    }
    // Who is not known learns nothing of what is there.
    let nowhere = refusal(&api, get("/nowhere")).await;
    assert_eq!(nowhere.1, "MissingAuthenticationTokenException");
}

#[tokio::test]
async fn incomplete_signatures_are_refused_by_what_they_lack() {
    let api = Api::new();
    let scope = format!("{ACCESS_KEY}/20201122/{REGION}/appmesh/aws4_request");
    let hex = "0".repeat(64);
    let full = |credential: &str, headers: &str, signature: &str| {
        format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={headers}, Signature={signature}")
    };
    let rows = [
        (String::new(), "AWS4-HMAC-SHA256"),
        ("Bearer x".into(), "AWS4-HMAC-SHA256"),
        ("AWS4-HMAC-SHA256".into(), "no Credential"),
        (format!("AWS4-HMAC-SHA256 Credential={scope}"), "no SignedHeaders"),
        (format!("AWS4-HMAC-SHA256 Credential={scope},SignedHeaders=host;x-amz-date"), "no Signature"),
        (full("a/b", "host;x-amz-date", &hex), "Credential must be"),
        (full(&scope, "x-amz-date", &hex), "include host"),
        (full(&scope, "host", &hex), "include x-amz-date"),
        (full(&scope, "Host;host;x-amz-date", &hex), "lower-case"),
        (full(&scope, "host;x-amz-date", "00"), "64 hexadecimal digits"),
        (full(&scope, "host;x-amz-date", &"é".repeat(32)), "must be there once, and be text"),
        (full(&scope, "host;x-amz-date;x-more", &hex), "the signed header x-more is missing"),
    ];
    for (authorization, part) in rows {
        let mut request = get(LIST);
        request.headers_mut().insert("x-amz-date", HeaderValue::from_static("20201122T051451Z"));
        request
            .headers_mut()
            .insert("authorization", HeaderValue::from_bytes(authorization.as_bytes()).unwrap());
        let (status, code, message) = refusal(&api, request).await;
        assert_eq!((status, &*code), (400, "IncompleteSignatureException"), "{authorization}: {message}");
        assert!(message.contains(part), "{authorization}: {message}");
    }
    for (date, part) in [(None, "x-amz-date is missing"), (Some("2020-11-22"), "the form YYYYMMDDTHHMMSSZ")] {
        let mut request = signed(get(LIST), api.now(), SigningSettings::default());
        request.headers_mut().remove("x-amz-date");
        if let Some(date) = date {
            request.headers_mut().insert("x-amz-date", HeaderValue::from_static(date));
        }
        let (_, code, message) = refusal(&api, request).await;
        assert_eq!(code, "IncompleteSignatureException");
        assert!(message.contains(part), "{message}");
    }
    let mut twice = signed(get(LIST), api.now(), SigningSettings::default());
    let same = twice.headers()["authorization"].clone();
    twice.headers_mut().append("authorization", same);
    assert_eq!(refusal(&api, twice).await.1, "IncompleteSignatureException");
}

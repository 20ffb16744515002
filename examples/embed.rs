//! One question to two endpoints over reqwest: the backup answers if the primary cannot. Set
//! `PRIMARY_URL` (say, <https://api.anthropic.com>), `PRIMARY_KEY`, `BACKUP_URL`, `BACKUP_KEY`.
use http::Request;
use http_body_util::BodyExt as _;
use qcc_core::body::RequestBody;
use qcc_core::credential::Credential;
use qcc_core::endpoint::{Api, Endpoint, Endpoints};
use qcc_core::error::BoxError;
use qcc_core::failover::Failover;
use qcc_core::upstream::{Reqwest, Settings};
use tower::ServiceExt as _;

const QUESTION: &str = r#"{ "model": "claude-haiku-4-5", "max_tokens": 50,
    "messages": [{ "role": "user", "content": "Say hello." }] }"#;

fn endpoint(name: &str, priority: u32) -> Result<Endpoint, BoxError> {
    let set = |name: String| std::env::var(&name).map_err(|_| format!("{name} is not set"));
    let key = Credential::new(name, set(format!("{name}_KEY"))?);
    let endpoint = Endpoint::new(name, set(format!("{name}_URL"))?.parse()?);
    let endpoint = endpoint.with_api(Api::Anthropic).with_credential(key);
    Ok(endpoint.with_priority(priority))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let endpoints = Endpoints::try_from_iter([endpoint("PRIMARY", 1)?, endpoint("BACKUP", 2)?])?;
    let client = Reqwest::with_settings(&Settings::default())?;
    let builder = Failover::builder(endpoints).llm();
    let failover = builder.build(|_endpoint| client.clone());

    let request = Request::post("/v1/messages").header("content-type", "application/json");
    let request = request.body(RequestBody::from(QUESTION))?;
    let response = failover.oneshot(request).await?;
    println!("{}", response.status());
    let answer = response.into_body().collect().await?.to_bytes();
    println!("{}", String::from_utf8_lossy(&answer));
    Ok(())
}

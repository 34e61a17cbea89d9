//! The OTLP exporter over HTTP.

use crate::BoxError;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use std::pin::Pin;
use std::time::Duration;
use tokio::runtime::Handle;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(5);

/// An exporter to `endpoint`, the base URL of the collector (`/v1/traces` is appended, as OpenTelemetry has it).
pub(super) fn exporter(endpoint: &Url) -> Result<SpanExporter, BoxError> {
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let traces = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
    let transport = OnRuntime {
        client,
        runtime: Handle::current(),
    };
    Ok(SpanExporter::builder()
        .with_http()
        .with_http_client(transport)
        .with_endpoint(traces)
        .with_timeout(TIMEOUT)
        .build()?)
}

/// Sends from the process's own run time: the batch processor calls from a thread that has none.
#[derive(Debug)]
struct OnRuntime {
    client: reqwest::Client,
    runtime: Handle,
}

impl HttpClient for OnRuntime {
    fn send_bytes<'life, 'future>(
        &'life self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(reqwest::Request::try_from(request)?).await?;
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = answer.status();
            *response.body_mut() = answer.bytes().await?;
            Ok(response)
        });
        Box::pin(async move { sent.await? })
    }
}

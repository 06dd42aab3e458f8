//! The app `math`: its functions, and everything else that is asked of apps.

use super::{Answer, Events, Fake};
use lydian_api::error::status;
use lydian_api::v1::apps_server::Apps;
use lydian_api::v1::{self, ErrorDetail};
use lydian_client::{FuncType, Type};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use tonic::{Code, Request, Response, Status, Streaming};

/// The functions of `math`.
fn functions(version: u64) -> Vec<FuncType> {
    let number = if version == 1 { Type::U64 } else { Type::S64 };
    let config = Type::record("config", [("depth", Type::U32), ("rate", Type::F64)]);
    let counter = || Type::Own("counter".into());
    vec![
        FuncType::new("square", [("x", number.clone())], Some(number)),
        FuncType::new("train", [("config", config)], Some(Type::F64)),
        FuncType::new("nothing", std::iter::empty::<(&str, Type)>(), None),
        FuncType::new(
            "count",
            [("n", Type::U32)],
            Some(Type::Stream(Some(Arc::new(Type::U32)))),
        ),
        FuncType::new("a:b/c#counter.new", [("start", Type::U32)], Some(counter())),
        FuncType::new(
            "a:b/c#counter.add",
            [("self", Type::Borrow("counter".into())), ("by", Type::U32)],
            Some(Type::U32),
        ),
    ]
}

fn describe(function: &FuncType) -> v1::Function {
    v1::Function {
        name: function.name.clone(),
        signature: function.signature(),
        type_json: serde_json::to_vec(function).unwrap().into(),
        ..v1::Function::default()
    }
}

#[tonic::async_trait]
impl Apps for Fake {
    async fn deploy(&self, _: Request<v1::DeployRequest>) -> Answer<v1::DeployResponse> {
        let version = self.script.version.fetch_add(1, SeqCst) + 1;
        Ok(Response::new(v1::DeployResponse {
            version,
            ..v1::DeployResponse::default()
        }))
    }

    async fn list(&self, _: Request<v1::ListAppsRequest>) -> Answer<v1::ListAppsResponse> {
        Ok(Response::new(v1::ListAppsResponse::default()))
    }

    async fn describe(
        &self,
        request: Request<v1::DescribeRequest>,
    ) -> Answer<v1::DescribeResponse> {
        self.asked().describes.fetch_add(1, SeqCst);
        let token = request.metadata().get("authorization");
        let token = token.map(|token| token.to_str().unwrap().to_owned());
        self.asked().tokens.lock().unwrap().push(token);
        let Some(v1::describe_request::Of::App(app)) = request.into_inner().of else {
            return Err(Status::invalid_argument("no app"));
        };
        if app.app != "math" {
            let detail = ErrorDetail::new("app-not-found", &app.app).hint("deploy it first");
            let text = format!("no app `{}` in environment `{}`", app.app, app.environment);
            return Err(status(Code::NotFound, text, &detail));
        }
        let current = self.script.version.load(SeqCst);
        let version = if app.version == 0 {
            current
        } else {
            app.version
        };
        Ok(Response::new(v1::DescribeResponse {
            app: Some(v1::App {
                name: app.app,
                environment: app.environment,
                version,
                component: vec![0; 32].into(),
                ..v1::App::default()
            }),
            functions: functions(version).iter().map(describe).collect(),
            ..v1::DescribeResponse::default()
        }))
    }

    async fn history(&self, _: Request<v1::HistoryRequest>) -> Answer<v1::HistoryResponse> {
        Ok(Response::new(v1::HistoryResponse::default()))
    }

    async fn rollback(&self, _: Request<v1::RollbackRequest>) -> Answer<v1::DeployResponse> {
        Err(Status::unimplemented("not here"))
    }

    async fn stop(&self, _: Request<v1::StopRequest>) -> Answer<v1::StopResponse> {
        Ok(Response::new(v1::StopResponse::default()))
    }

    type OpenStream = Events<v1::OpenResponse>;

    async fn open(&self, _: Request<Streaming<v1::OpenRequest>>) -> Answer<Self::OpenStream> {
        Err(Status::unimplemented("not here"))
    }

    type LogsStream = Events<v1::LogChunk>;

    async fn logs(&self, _: Request<v1::AppLogsRequest>) -> Answer<Self::LogsStream> {
        Ok(Response::new(Box::pin(tokio_stream::empty())))
    }

    async fn environments(
        &self,
        _: Request<v1::EnvironmentsRequest>,
    ) -> Answer<v1::EnvironmentsResponse> {
        Ok(Response::new(v1::EnvironmentsResponse {
            environments: vec!["main".into()],
        }))
    }
}

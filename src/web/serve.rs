//! The HTTP server around the routes.

use crate::web::gate::gate;
use crate::web::headers::finish;
use crate::web::routes;
use crate::web::session;
use crate::web::state::AppState;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, Error, HttpServer, web};
use std::future::Future;
use std::io;
use std::time::Duration;

/// A client has this long to send the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// An idle connection is kept this long.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Requests under way have this long to end when the portal stops.
const STOP_SECONDS: u64 = 5;
/// Connections of one worker, at most.
const CONNECTIONS_MAX: usize = 2_000;

/// The whole portal as an actix application; the server and the in-process tests use the same.
pub fn app(
    state: &web::Data<AppState>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    > + use<>,
> {
    App::new()
        .app_data(state.clone())
        .configure(routes::register)
        .default_service(web::to(routes::not_found))
        // The last one wrapped sees a request first.
        .wrap(from_fn(gate))
        .wrap(session::middleware(state))
        .wrap(from_fn(finish))
}

/// Serves until `stop` is done, then lets requests under way end.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    state: AppState,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (listen, state) = (state.config.args.listen, web::Data::new(state));
    HttpServer::new(move || app(&state))
        .client_request_timeout(HEAD_TIME)
        .keep_alive(KEEP_ALIVE)
        .max_connections(CONNECTIONS_MAX)
        .shutdown_timeout(STOP_SECONDS)
        .shutdown_signal(stop)
        .bind(listen)?
        .run()
        .await
}

//! An application on a listening socket: HTTP/1.1 over connections that are ours ([`ClientStream`]), with actix's workers.

use std::fmt;
use std::future::ready;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, Request, Response};
use actix_server::ServerBuilder;
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::AppConfig;
use actix_web::error::DispatchError;
use actix_web::rt::net::TcpStream;

use super::connections::{ClientStream, Connections};
use crate::config::Server;

/// How long a connection that is closed may take to take what is left for it.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Has each worker of `builder` serve `app` on `listener`, as [`actix_web::HttpServer`] would.
///
/// # Errors
/// If the socket cannot be handed to the workers.
pub fn listen<F, I, S, B>(
    builder: ServerBuilder,
    listener: TcpListener,
    server: &Server,
    connections: Arc<Connections>,
    app: F,
) -> io::Result<ServerBuilder>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Future: 'static,
    <S::Service as actix_service::Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let stopping = builder.graceful_shutdown_signal();
    let Server { keep_alive, half_close, .. } = *server;
    let address = listener.local_addr()?;
    builder.listen("aigw", listener, move || {
        let (stopping, accepted, registered) = (stopping.clone(), Arc::clone(&connections), Arc::clone(&connections));
        let app = app().into_factory().map_err(|error| error.into().error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(keep_alive)
            // A head's time is the connection's to keep.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(CLOSE_WITHIN)
            .h1_allow_half_closed(half_close)
            .local_addr(address)
            .on_connect_ext(move |client: &ClientStream, data| registered.register(client, data))
            .h1(map_config(app, |()| AppConfig::default()));
        fn_service(move |socket: TcpStream| {
            let peer = socket.peer_addr().ok();
            ready(Ok::<_, DispatchError>((accepted.accept(socket), peer)))
        })
        .and_then(http)
    })
}

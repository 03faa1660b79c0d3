//! The public port's other requests: each visitor comes with its socket and what a shard has read
//! of it.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use stentor_shards::{Crossing, Inbox, Visitor};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::sealed::SealedStream;
use super::{State, pages};

/// How many visitors are served at once.
const VISITORS_MAX: u32 = 512;

/// How long one may take.
const VISIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves visitors until the shards have gone and the last one is answered.
pub(crate) async fn receive(mut inbox: Inbox, state: State) {
    let router = pages::router(state);
    let room = Arc::new(Semaphore::new(VISITORS_MAX as usize));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        let Some(crossing) = inbox.receive().await else { break };
        let Crossing::Visitor(visitor) = crossing else { continue };
        let router = router.clone();
        tokio::spawn(async move {
            let _place = place;
            // An error here is the visitor's: it went, or made no sense and was told so.
            let _ = tokio::time::timeout(VISIT_TIMEOUT, serve(visitor, router)).await;
        });
    }
    let _ = room.acquire_many(VISITORS_MAX).await;
}

async fn serve(visitor: Visitor, router: axum::Router) {
    let Ok(socket) = TcpStream::from_std(visitor.socket) else { return };
    if let Some(sealed) = visitor.sealed {
        return answer(SealedStream::new(socket, *sealed, visitor.head), router).await;
    }
    let (read, write) = socket.into_split();
    let whole = tokio::io::join(Cursor::new(visitor.head).chain(read), write);
    answer(whole, router).await;
}

async fn answer(whole: impl AsyncRead + AsyncWrite + Unpin, router: axum::Router) {
    let service = TowerToHyperService::new(router);
    // One request for each connection: the next one may be an upgrade, and those are the shards'.
    let _ = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .serve_connection(TokioIo::new(whole), service)
        .await;
}

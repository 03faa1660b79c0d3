//! The usual broadcast server on tokio: a task a client, and one broadcast channel that all of them
//! read.

use std::error::Error;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::{self, Message, protocol::WebSocketConfig};

/// How far a client may lag behind before it is closed.
const LAG_MAX: usize = 4096;

/// Every client owns a read buffer of this size; the default, 128 KiB, is for few clients.
const READ_BUFFER_BYTES: usize = 4 << 10;

const MESSAGE_BYTES_MAX: usize = 64 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("usage: server PORT")?.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let (all, _) = broadcast::channel(LAG_MAX);
    loop {
        let (stream, _) = listener.accept().await?;
        let all = all.clone();
        tokio::spawn(async move {
            // However it ends, the client is closed and nobody else is touched.
            let _ = serve(stream, all).await;
        });
    }
}

async fn serve(stream: TcpStream, all: broadcast::Sender<Message>) -> tungstenite::Result<()> {
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX));
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    let mut messages = all.subscribe();
    loop {
        tokio::select! {
            said = socket.next() => match said.transpose()? {
                Some(message @ (Message::Text(_) | Message::Binary(_))) => {
                    // It cannot fail: this task holds a receiver.
                    let _ = all.send(message);
                }
                Some(_) => {}
                None => return Ok(()),
            },
            message = messages.recv() => match message {
                Ok(message) => {
                    socket.feed(message).await?;
                    // What else is there leaves in the same write.
                    while let Ok(message) = messages.try_recv() {
                        socket.feed(message).await?;
                    }
                    socket.flush().await?;
                }
                Err(RecvError::Lagged(_) | RecvError::Closed) => return socket.close(None).await,
            },
        }
    }
}

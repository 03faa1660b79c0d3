// The hub of the Go chat tutorials: one goroutine owns the clients, and two goroutines serve each of them.
//
// One thing differs: messages that queue up for a client leave as a frame each, not joined with newlines into one,
// because a receipt is one text a message.
package main

import (
	"crypto/tls"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// A client whose queue is full is closed.
	queueMax     = 256
	writeTimeout = 10 * time.Second
	messageMax   = 64 << 10
)

// Write buffers are borrowed for the time of a write: idle clients own none.
var upgrader = websocket.Upgrader{
	ReadBufferSize:  1024,
	WriteBufferSize: 1024,
	WriteBufferPool: &sync.Pool{},
	CheckOrigin:     func(*http.Request) bool { return true },
}

type hub struct {
	clients    map[*client]bool
	broadcast  chan *websocket.PreparedMessage
	register   chan *client
	unregister chan *client
}

type client struct {
	hub  *hub
	conn *websocket.Conn
	send chan *websocket.PreparedMessage
}

func (h *hub) run() {
	for {
		select {
		case client := <-h.register:
			h.clients[client] = true
		case client := <-h.unregister:
			h.remove(client)
		case message := <-h.broadcast:
			for client := range h.clients {
				select {
				case client.send <- message:
				default:
					h.remove(client)
				}
			}
		}
	}
}

func (h *hub) remove(client *client) {
	if h.clients[client] {
		delete(h.clients, client)
		close(client.send)
	}
}

func (c *client) readPump() {
	defer func() {
		c.hub.unregister <- c
		c.conn.Close()
	}()
	c.conn.SetReadLimit(messageMax)
	for {
		kind, text, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		// Its frame is made once for all clients.
		message, err := websocket.NewPreparedMessage(kind, text)
		if err != nil {
			return
		}
		c.hub.broadcast <- message
	}
}

func (c *client) writePump() {
	defer c.conn.Close()
	for message := range c.send {
		c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err := c.conn.WritePreparedMessage(message); err != nil {
			return
		}
	}
	c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	c.conn.WriteMessage(websocket.CloseMessage, nil)
}

func main() {
	if len(os.Args) != 2 && len(os.Args) != 4 {
		log.Fatal("usage: hub PORT [CERT KEY]")
	}
	h := &hub{
		clients:    make(map[*client]bool),
		broadcast:  make(chan *websocket.PreparedMessage),
		register:   make(chan *client),
		unregister: make(chan *client),
	}
	go h.run()
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c := &client{h, conn, make(chan *websocket.PreparedMessage, queueMax)}
		h.register <- c
		go c.writePump()
		go c.readPump()
	})
	server := &http.Server{Addr: "127.0.0.1:" + os.Args[1]}
	if len(os.Args) == 4 {
		// A WebSocket needs HTTP/1.1: no other protocol is offered.
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		log.Fatal(server.ListenAndServeTLS(os.Args[2], os.Args[3]))
	}
	log.Fatal(server.ListenAndServe())
}

// Command hello is an agent that greets, in two files.
package main

import (
	"net"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"status":"Healthy"}`))
	})
	http.HandleFunc("POST /invoke", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(greeting))
	})
	http.HandleFunc("POST /die", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	panic(http.Serve(l, nil))
}

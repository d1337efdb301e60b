// An upstream that lets nobody in without a certificate, as net/http does it: upstream ADDRESS CERT KEY CA; a fifth word: TLS 1.3 alone
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	pem, err := os.ReadFile(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		log.Fatal("no certificate in ", os.Args[4])
	}
	least := uint16(tls.VersionTLS12)
	if len(os.Args) > 5 {
		least = tls.VersionTLS13
	}
	server := &http.Server{
		Addr:      os.Args[1],
		TLSConfig: &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: least},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, r.TLS.PeerCertificates[0].Subject.CommonName)
		}),
	}
	log.Fatal(server.ListenAndServeTLS(os.Args[2], os.Args[3]))
}

// Makes the archives beside it: databases as step-ca's libraries write them, with the records each should hold.
//
//	go run . SHAPE DIRECTORY && tar cJf SHAPE.tar.xz ...

package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"time"

	badger1 "github.com/dgraph-io/badger"
	badger "github.com/dgraph-io/badger/v2"
	"github.com/dgraph-io/badger/v2/options"
	bolt "go.etcd.io/bbolt"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}
func enc(b []byte) []byte {
	l := make([]byte, 2)
	binary.LittleEndian.PutUint16(l, uint16(len(b)))
	return append(l, b...)
}
func key(t string, k string) []byte { return append(enc([]byte(t)), enc([]byte(k))...) }

func seed() int64 {
	var s int64 = 7
	if len(os.Args) > 3 {
		fmt.Sscan(os.Args[3], &s)
	}
	return s
}

var want = map[string]string{}

func value(r *rand.Rand, big bool) []byte {
	n := 20 + r.Intn(600)
	if big {
		n = 1000 + r.Intn(3000)
	}
	b := make([]byte, n)
	fill := byte(r.Intn(256))
	for i := range b {
		b[i] = fill
	}
	binary.BigEndian.PutUint32(b, r.Uint32())
	return b
}
func note(t, k string, v []byte) {
	h := sha256.Sum256(v)
	want[t+"/"+k] = hex.EncodeToString(h[:8])
}
func save(dir string) {
	b, _ := json.Marshal(want)
	check(os.WriteFile(filepath.Join(filepath.Dir(dir), filepath.Base(dir)+".json"), b, 0644))
}

var tables = []string{"x509_certs", "used_ott", "revoked_x509_certs", "x509_certs_data"}

func churn(db *badger.DB, r *rand.Rand, n int, space int, bigShare int) {
	for i := 0; i < n; i++ {
		check(db.Update(func(txn *badger.Txn) error {
			m := 1 + r.Intn(3)
			seen := map[string]bool{}
			for j := 0; j < m; j++ {
				t, k := tables[r.Intn(len(tables))], fmt.Sprintf("%d", 100000+r.Intn(space))
				if seen[t+k] {
					continue
				}
				seen[t+k] = true
				if r.Intn(6) == 0 {
					delete(want, t+"/"+k)
					check(txn.Delete(key(t, k)))
					continue
				}
				v := value(r, r.Intn(100) < bigShare)
				note(t, k, v)
				check(txn.Set(key(t, k), v))
			}
			return nil
		}))
	}
}

func main() {
	shape, dir := os.Args[1], os.Args[2]
	os.RemoveAll(dir)
	r := rand.New(rand.NewSource(seed()))
	o := badger.DefaultOptions(dir).WithLogger(nil)
	n, space, big := 3000, 2000, 10
	switch shape {
	case "default", "killed", "torn":
		n = 300
		space = 200
	case "levels", "levelskilled":
		o = o.WithMaxTableSize(1 << 16).WithLevelOneSize(1 << 18).WithNumMemtables(1).WithNumLevelZeroTables(1).WithNumLevelZeroTablesStall(2).WithSyncWrites(false)
		n = 1300
		space = 400
	case "gc", "gckilled":
		o = o.WithMaxTableSize(1 << 16).WithLevelOneSize(1 << 18).WithNumMemtables(1).WithNumLevelZeroTables(1).WithNumLevelZeroTablesStall(2).WithSyncWrites(false).WithValueLogFileSize(1 << 20)
		n, space, big = 2500, 120, 60
	case "encrypted":
		o = o.WithEncryptionKey([]byte("0123456789abcdef"))
		n = 20
	case "snappy":
		o = o.WithCompression(options.Snappy)
		n = 20
	case "valuedir":
		o = o.WithValueDir(dir + "-values")
		os.RemoveAll(dir + "-values")
		n = 300
	case "bbolt":
		db, err := bolt.Open(dir, 0600, nil)
		check(err)
		for _, t := range append(tables, "x509_crl", "empty") {
			check(db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucketIfNotExists([]byte(t)); return err }))
		}
		check(db.Update(func(tx *bolt.Tx) error {
			v := value(r, false)
			note("x509_crl", "crl", v)
			return tx.Bucket([]byte("x509_crl")).Put([]byte("crl"), v)
		}))
		for i := 0; i < 250; i++ {
			check(db.Update(func(tx *bolt.Tx) error {
				for j := 0; j < 8; j++ {
					t, k := tables[r.Intn(len(tables))], fmt.Sprintf("%d", 100000+r.Intn(500))
					if r.Intn(4) == 0 {
						delete(want, t+"/"+k)
						check(tx.Bucket([]byte(t)).Delete([]byte(k)))
						continue
					}
					v := value(r, r.Intn(100) < 20)
					if r.Intn(100) == 0 {
						v = append(v, make([]byte, 20000)...)
					}
					note(t, k, v)
					check(tx.Bucket([]byte(t)).Put([]byte(k), v))
				}
				return nil
			}))
		}
		save(dir)
		check(db.Close())
		return
	case "v1":
		o1 := badger1.DefaultOptions(dir).WithLogger(nil)
		db, err := badger1.Open(o1)
		check(err)
		for i := 0; i < 50; i++ {
			v := value(r, i%7 == 0)
			k := fmt.Sprint(100000 + i)
			note("x509_certs", k, v)
			check(db.Update(func(t *badger1.Txn) error { return t.Set(key("x509_certs", k), v) }))
		}
		f, _ := os.Create(dir + ".bak")
		_, err = db.Backup(f, 0)
		check(err)
		f.Close()
		save(dir)
		check(db.Close())
		return
	}
	db, err := badger.Open(o)
	check(err)
	for _, t := range tables {
		check(db.Update(func(txn *badger.Txn) error { return txn.Set(enc([]byte(t)), []byte{}) }))
	}
	churn(db, r, n, space, big)
	if shape == "gc" || shape == "gckilled" {
		check(db.Close())
		db, err = badger.Open(o)
		check(err)
		got := 0
		for i := 0; i < 12; i++ {
			if err := db.RunValueLogGC(0.01); err == nil {
				got++
			} else {
				fmt.Println(err)
			}
			churn(db, r, 100, space, big)
		}
		fmt.Println("gc runs", got)
		churn(db, r, 200, space, big)
	}
	f, _ := os.Create(dir + ".bak")
	_, err = db.Backup(f, 0)
	check(err)
	f.Close()
	save(dir)
	switch shape {
	case "killed", "levelskilled", "gckilled":
		time.Sleep(200 * time.Millisecond)
		os.Exit(0)
	}
	check(db.Close())
}

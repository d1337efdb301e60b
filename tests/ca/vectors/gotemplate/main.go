// Makes gotemplate.json: what Go's text/template, with step's functions, prints for the templates of cases.json.
//
//	go run . <cases.json >../gotemplate.json
package main

import (
	"bytes"
	"encoding/json"
	"log"
	"os"
	"runtime"
	"strings"
	"text/template"

	"go.step.sm/crypto/x509util"
)

type input struct {
	Data      map[string]any `json:"data"`
	Templates []string       `json:"templates"`
}

type vector struct {
	Template string `json:"template"`
	Output   string `json:"output"`
	Error    string `json:"error,omitempty"`
	Stage    string `json:"stage,omitempty"`
}

func run(text string, shared map[string]any) vector {
	v := vector{Template: text}
	parsed, err := template.New("template").Funcs(x509util.GetFuncMap()).Parse(text)
	if err != nil {
		v.Error, v.Stage = err.Error(), "parse"
		return v
	}
	// The data is read again for each template, since templates may change it.
	encoded, _ := json.Marshal(shared)
	data := map[string]any{}
	_ = json.Unmarshal(encoded, &data)
	var out bytes.Buffer
	if err := parsed.Execute(&out, data); err != nil {
		v.Error, v.Stage = strings.SplitN(err.Error(), "\n", 2)[0], "execute"
		return v
	}
	v.Output = out.String()
	return v
}

func main() {
	var cases input
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		log.Fatal(err)
	}
	result := struct {
		Go      string         `json:"go"`
		Data    map[string]any `json:"data"`
		Vectors []vector       `json:"vectors"`
	}{Go: runtime.Version(), Data: cases.Data}
	for _, text := range cases.Templates {
		result.Vectors = append(result.Vectors, run(text, cases.Data))
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(result); err != nil {
		log.Fatal(err)
	}
}

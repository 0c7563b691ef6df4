// Command tigera-convert-oracle answers, with the Tigera operator's own conversion, whether the operator takes a Calico
// over that it did not install.
//
// It reads one JSON case per line on standard input, {"objects": [...]}, each object as kubectl would print it, and
// writes one JSON answer per line on standard output: {"takesOver": true}, or false and the operator's reason.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/go-logr/logr"
	"github.com/tigera/operator/pkg/apis"
	"github.com/tigera/operator/pkg/controller/migration/convert"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	kscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

type question struct {
	Objects []json.RawMessage `json:"objects"`
}

type answer struct {
	TakesOver bool   `json:"takesOver"`
	Reason    string `json:"reason"`
	Fault     string `json:"fault,omitempty"` // of the case, not of the cluster
}

func main() {
	logf.SetLogger(logr.Discard())
	scheme := kscheme.Scheme
	if err := apis.AddToScheme(scheme, false); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	decoder := serializer.NewCodecFactory(scheme).UniversalDeserializer()
	in, out := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		if err == nil {
			err = out.Encode(ask(scheme, decoder, line))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func ask(scheme *runtime.Scheme, decoder runtime.Decoder, line []byte) (told answer) {
	var asked question
	if err := json.Unmarshal(line, &asked); err != nil {
		return answer{Fault: err.Error()}
	}
	builder := fake.NewClientBuilder().WithScheme(scheme)
	for _, raw := range asked.Objects {
		found, _, err := decoder.Decode(raw, nil, nil)
		if err != nil {
			return answer{Fault: err.Error()}
		}
		builder = builder.WithObjects(found.(client.Object))
	}
	// An operator that panics has not taken over anything.
	defer func() {
		if fault := recover(); fault != nil {
			told = answer{Reason: fmt.Sprintf("panic: %v", fault)}
		}
	}()
	install, err := convert.Convert(context.Background(), builder.Build())
	if err != nil {
		return answer{Reason: err.Error()}
	}
	if install == nil {
		return answer{Reason: "nothing to convert"}
	}
	return answer{TakesOver: true}
}

// Command kubectl-yaml reads documents as kubectl does, and as Pulumi does.
//
// It reads one JSON string per line on standard input, a file's whole text, and writes one JSON answer per line:
// `documents` in the way of kubectl (cut into pieces by k8s.io/apimachinery, each read by sigs.k8s.io/yaml; null ones
// left out), or `error`; `other`, the first document read by gopkg.in/yaml.v3 as in Pulumi, or `otherError`.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	yaml3 "gopkg.in/yaml.v3"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

type answer struct {
	Documents  []json.RawMessage `json:"documents"`
	Error      string            `json:"error,omitempty"`
	Other      json.RawMessage   `json:"other,omitempty"`
	OtherError string            `json:"otherError,omitempty"`
}

func kubectl(text string) (found []json.RawMessage, err error) {
	found = []json.RawMessage{}
	pieces := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader([]byte(text))))
	for {
		piece, err := pieces.Read()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		value, err := yaml.YAMLToJSON(piece)
		if err != nil {
			return nil, err
		}
		if string(value) != "null" {
			found = append(found, value)
		}
	}
}

// plain refuses what JSON cannot say: Pulumi does not take such either.
func plain(value any) (any, error) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			made, err := plain(inner)
			if err != nil {
				return nil, err
			}
			value[key] = made
		}
	case map[any]any:
		return nil, errors.New("a key is no text")
	case []any:
		for at, inner := range value {
			made, err := plain(inner)
			if err != nil {
				return nil, err
			}
			value[at] = made
		}
	case time.Time:
		return nil, fmt.Errorf("%s is a date", value)
	}
	return value, nil
}

func pulumi(text string) (json.RawMessage, error) {
	var value any
	if err := yaml3.Unmarshal([]byte(text), &value); err != nil {
		return nil, err
	}
	value, err := plain(value)
	if err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

func guarded[T any](read func(string) (T, error), text string) (found T, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v", fault)
		}
	}()
	return read(text)
}

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var text string
		if err := json.Unmarshal(line, &text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		var told answer
		if told.Documents, err = guarded(kubectl, text); err != nil {
			told.Error = err.Error()
		}
		if told.Other, err = guarded(pulumi, text); err != nil {
			told.OtherError = err.Error()
		}
		written, err := json.Marshal(told)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		out.Write(append(written, '\n'))
		out.Flush()
	}
}

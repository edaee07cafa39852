// Package check reads the compose file as docker compose config does, and the
// configuration of Prometheus as promtool check config does, by the same
// libraries, and compares what belongs together. It is a module of its own, so
// that the program does not require what only this needs.
package check

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

func load(t *testing.T) *types.Project {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("..", "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	options, err := cli.NewProjectOptions([]string{file}, cli.WithInterpolation(true), cli.WithNormalization(true),
		cli.WithConsistency(true), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestCompose(t *testing.T) {
	project := load(t)
	nodes := 0
	for _, s := range project.Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if info, err := os.Stat(v.Source); err != nil || info.IsDir() {
				t.Errorf("service %s mounts %s, which is no file: %v", s.Name, v.Source, err)
			}
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("service %s listens to everybody on port %s", s.Name, p.Published)
			}
		}
		if tag := s.Image[strings.LastIndex(s.Image, ":")+1:]; tag == s.Image || tag == "latest" {
			t.Errorf("service %s: image %s has no fixed version", s.Name, s.Image)
		}
		if s.Build == nil {
			continue
		}
		nodes++
		if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Errorf("service %s: %v", s.Name, err)
		}
		if s.Hostname != s.Name {
			t.Errorf("node %s tells the others that it is at %s", s.Name, s.Hostname)
		}
		if !slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == s.Command[len(s.Command)-1] }) {
			t.Errorf("node %s reads %s, which is not mounted", s.Name, s.Command[len(s.Command)-1])
		}
		if *s.Environment["AWS_SECRET_ACCESS_KEY"] != *project.Services["s3"].Environment["ROOT_SECRET_KEY"] {
			t.Errorf("node %s has another password than the store", s.Name)
		}
	}
	if nodes != 3 {
		t.Errorf("%d nodes", nodes)
	}
}

// What the other files name is a service, on a port it listens on.
func TestAddresses(t *testing.T) {
	project := load(t)
	var node struct {
		Store   string
		Listen  string
		Streams map[string]struct {
			Source struct {
				Kafka struct {
					Brokers []string
					Topic   string
				}
			}
		}
	}
	decode(t, "weir.yaml", &node)
	var watching struct {
		Scrape []struct {
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	decode(t, "prometheus.yml", &watching)
	_, port, _ := strings.Cut(node.Listen, ":")
	targets := watching.Scrape[0].Static[0].Targets
	for name, s := range project.Services {
		if s.Build != nil && !slices.Contains(targets, name+":"+port) {
			t.Errorf("node %s is not watched", name)
		}
		if s.Build != nil && s.Ports[0].Target != 8080 || port != "8080" {
			t.Errorf("node %s listens on %s and publishes %d", name, port, s.Ports[0].Target)
		}
	}
	kafka, s3 := project.Services["kafka"], project.Services["s3"]
	for _, stream := range node.Streams {
		for _, b := range stream.Source.Kafka.Brokers {
			if !strings.Contains(*kafka.Environment["KAFKA_ADVERTISED_LISTENERS"], "PLAINTEXT://"+b) {
				t.Errorf("no broker is at %s", b)
			}
		}
		if topic := project.Services["topic"]; !slices.Contains(topic.Command, stream.Source.Kafka.Topic) {
			t.Errorf("topic %s is not made", stream.Source.Kafka.Topic)
		}
	}
	if !strings.Contains(node.Store, "endpoint=http://s3:7070&") || !slices.Contains(s3.Command, ":7070") {
		t.Errorf("no S3 server is at %s", node.Store)
	}
	bucket, _, _ := strings.Cut(strings.TrimPrefix(node.Store, "s3://"), "/")
	if !slices.Contains(project.Services["bucket"].Entrypoint, s3.Command[len(s3.Command)-1]+"/"+bucket) {
		t.Errorf("bucket %s is not made", bucket)
	}
}

func decode(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, name)), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

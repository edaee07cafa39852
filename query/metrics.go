package query

import "github.com/prometheus/client_golang/prometheus"

// Collector gives what the engine did to Prometheus.
func (e *Engine) Collector() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &collector{
		engine:    e,
		questions: desc("weir_queries_total", "Questions asked."),
		failed:    desc("weir_queries_failed_total", "Questions not answered, by why: a wrong parameter, a limit, or a failure.", "why"),
		cells:     desc("weir_query_cells_total", "Cells merged to answer questions."),
		refreshes: desc("weir_query_refreshes_total", "Questions begun again because the store or an owner was ahead of what this process knew."),
	}
}

type collector struct {
	engine                              *Engine
	questions, failed, cells, refreshes *prometheus.Desc
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.questions, c.failed, c.cells, c.refreshes} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	n := c.engine.Counters()
	send := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	send(c.questions, n.Questions)
	send(c.cells, n.Cells)
	send(c.refreshes, n.Refreshes)
	for why, v := range map[string]int64{
		"parameter": n.BadParams, "cells": n.TooManyCells, "series": n.TooManySeries, "points": n.TooManyPoints,
		"memory": n.TooMuchMemory, "time": n.TooLong, "failure": n.Failed,
	} {
		send(c.failed, v, why)
	}
}

package weir

import "time"

// IncidentsConfig says what becomes of incidents.
type IncidentsConfig struct {
	// How long they are kept once they are resolved, by the clock. At least 1d.
	// Default 90d.
	Keep time.Duration `yaml:"keep"`
}

func (k *checker) completeIncidents(c *Config) {
	if c.Incidents == nil && len(c.Detectors) > 0 {
		c.Incidents = new(IncidentsConfig)
	}
	if c.Incidents != nil {
		fill(k, "incidents.keep", &c.Incidents.Keep, 90*day)
	}
}

func (k *checker) checkIncidents(c *Config) {
	if c.Incidents != nil {
		atLeast(k, "incidents.keep", c.Incidents.Keep, day, FormatDuration)
	}
}

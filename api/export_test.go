package api

import "github.com/danielgtaylor/huma/v2"

// Huma shows tests what the server documents.
func (s *Server) Huma() huma.API { return s.huma }

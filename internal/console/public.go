package console

import "net/http"

func (c *Console) public() http.Handler { return http.NotFoundHandler() }

package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/protoduction/micro/cloud"
)

func brokerPath(name, below string) string { return "/v1/brokers/" + url.PathEscape(name) + below }

// Brokers lists the service brokers, with what they offer.
func (c *Client) Brokers(ctx context.Context) ([]Broker, error) {
	return all[Broker](ctx, c, "/v1/brokers", nil)
}

// Broker shows a service broker.
func (c *Client) Broker(ctx context.Context, name string) (Broker, error) {
	return call[Broker](ctx, c, http.MethodGet, brokerPath(name, ""), nil, nil)
}

// AddBroker adds a service broker, whose catalog is fetched.
func (c *Client) AddBroker(ctx context.Context, b NewBroker) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, "/v1/brokers", nil, b)
}

// RefreshBroker fetches the catalog of a service broker again.
func (c *Client) RefreshBroker(ctx context.Context, name string) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, brokerPath(name, "/refresh"), nil, nil)
}

// RemoveBroker forgets a service broker, of which no service is left.
func (c *Client) RemoveBroker(ctx context.Context, name string) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, brokerPath(name, ""), nil, nil)
}

// UpdateService asks a broker for another plan of a service, or other parameters.
func (c *Client) UpdateService(ctx context.Context, s cloud.AppRef, u ServiceUpdate) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, servicePath(s, "update"), nil, u)
}

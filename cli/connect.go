package cli

import (
	"context"
	"io"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
)

// connect joins this process's input and output to the node's socket: the far end of an ssh:// target.
func (c *command) connect() *urfave.Command {
	return c.new("connect", "", "connect standard input and output to the node's API", 0, 0, nil,
		c.with(func(ctx context.Context, _ *urfave.Context, client *api.Client) error {
			conn, err := client.Connect(ctx)
			if err != nil {
				return err
			}
			defer conn.Close()
			go func() {
				_, _ = io.Copy(conn, c.Stdin) // what is lost on the way, the two ends know themselves
				if half, ok := conn.(interface{ CloseWrite() error }); ok {
					_ = half.CloseWrite()
				}
			}()
			_, err = io.Copy(c.Stdout, conn)
			return err
		}))
}

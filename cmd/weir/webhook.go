package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/notify"
	"github.com/weir-stream/weir/store"
)

func newWebhook() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Lists webhooks, tries them, and tells them again",
		Long: `Webhook looks after who is told of incidents: it lists the webhooks of the
configuration, sends one of them a sample, or has a message sent again.`,
		Example: `  weir webhook list
  weir webhook test ops
  weir webhook redeliver traffic.12-15 --webhook ops`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newWebhookList(), newWebhookTest(), newWebhookRedeliver())
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

func newWebhookList() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Lists the webhooks of the configuration, and how it goes with them",
		Long: `List prints a line a webhook: what it is told and where, whether that is signed,
and how many messages of the log of deliveries wait, were delivered, or failed.
URLs that come from the environment are secrets, and are not printed.`,
		Example: `  weir webhook list -c weir.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := weir.Load(config)
			if err != nil {
				return err
			}
			return listWebhooks(cmd.Context(), cmd.OutOrStdout(), c)
		},
	}
	configFlag(cmd, &config)
	return cmd
}

func listWebhooks(ctx context.Context, w io.Writer, c *weir.Config) (err error) {
	bucket, done, err := webhookStore(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "webhook\tformat\tto\tsigned\twait\tdelivered\tfailed\t")
	for _, hook := range c.Webhooks {
		where, signed, note := hook.URL, "no", ""
		if hook.URLEnv != "" {
			where = "$" + hook.URLEnv
		}
		if hook.Format != "pagerduty" && (hook.SecretEnv != "" || hook.SecretFile != "") {
			signed = "yes"
		}
		var s notify.Status
		n, err := notify.New(notify.Options{Webhooks: []*weir.WebhookConfig{hook}, Bucket: bucket})
		if err != nil {
			note = err.Error()
		} else if bucket != nil {
			if s, err = n.Status(ctx, hook.Name); err != nil {
				return err
			}
		}
		if s.Disabled {
			note = "disabled: it answered 410 Gone; a test that succeeds enables it"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", hook.Name, hook.Format, where, signed, s.Pending, s.Delivered, s.Failed, note)
	}
	return table.Flush()
}

func newWebhookTest() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "test NAME",
		Short: "Sends a webhook a sample, at once",
		Long: `Test sends a webhook an incident that is none, as it would send a real one, and
prints what it answered. It fails unless that is a success. No server has to
run. A webhook that was disabled because it answered 410 Gone is enabled again
by a test that succeeds.`,
		Example: `  weir webhook test ops -c weir.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := weir.Load(config)
			if err != nil {
				return err
			}
			hook, err := webhookNamed(cmd, c, args[0])
			if err != nil {
				return err
			}
			return testWebhook(cmd.Context(), cmd.OutOrStdout(), c, hook)
		},
	}
	configFlag(cmd, &config)
	cmd.ValidArgsFunction = completeFrom(&config, webhookNames)
	return cmd
}

func testWebhook(ctx context.Context, w io.Writer, c *weir.Config, hook *weir.WebhookConfig) (err error) {
	bucket, done, err := webhookStore(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	n, err := notify.New(notify.Options{
		Webhooks: []*weir.WebhookConfig{hook}, Bucket: bucket, External: "http://" + reachable(c.Listen),
	})
	if err != nil {
		return err
	}
	d, err := n.Test(ctx, hook.Name)
	if err != nil {
		return err
	}
	for _, a := range d.Attempts {
		took := time.Duration(a.Took * float64(time.Second)).Round(time.Millisecond)
		if a.Answer != "" {
			fmt.Fprintf(w, "it says: %s\n", strings.TrimSpace(a.Answer))
		}
		if a.Error != "" {
			return fmt.Errorf("webhook %s was not told, after %v: %s", hook.Name, took, a.Error)
		}
		fmt.Fprintf(w, "webhook %s was told, as message %s: it answered %d after %v\n", hook.Name, d.ID, a.Status, took)
	}
	return nil
}

func newWebhookRedeliver() *cobra.Command {
	var config, name string
	cmd := &cobra.Command{
		Use:   "redeliver ID",
		Short: "Has a message sent again, whatever became of it",
		Long: `Redeliver has a message sent again, to one webhook or to all that were sent it.
ID is what receivers know as webhook-id, and what /v1/deliveries lists as id. It
asks the server of the configuration; when none runs, it writes the wish into
the store, and the next one that does sends the message.`,
		Example: `  weir webhook redeliver traffic.12-15
  weir webhook redeliver traffic.12-15 --webhook ops`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := weir.Load(config)
			if err != nil {
				return err
			}
			if name != "" {
				if _, err := webhookNamed(cmd, c, name); err != nil {
					return err
				}
			}
			return redeliver(cmd.Context(), cmd.OutOrStdout(), c, args[0], name)
		},
	}
	configFlag(cmd, &config)
	cmd.Flags().StringVar(&name, "webhook", "", "`name` of the webhook (default: all that were sent it)")
	must(cmd.RegisterFlagCompletionFunc("webhook", completeFrom(&config, webhookNames)))
	return cmd
}

// deliveries is the log of deliveries, of a server or in a store.
type deliveries interface {
	Deliveries(ctx context.Context, f weir.DeliveryFilter) ([]weir.Delivery, string, error)
	Redeliver(ctx context.Context, id, webhook string) error
}

// redeliver asks the server, or writes to the store where none listens.
func redeliver(ctx context.Context, w io.Writer, c *weir.Config, id, webhook string) (err error) {
	server, err := newRemote(reachable(c.Listen))
	if err != nil {
		return err
	}
	server.store = storeID(c)
	hooks, err := toldOf(ctx, server, id, webhook)
	var refused *net.OpError
	if err == nil || !errors.Is(err, errOtherStore) && !(errors.As(err, &refused) && refused.Op == "dial") {
		return redeliverTo(ctx, w, server, hooks, err, id, "it is on its way")
	}
	bucket, done, err := webhookStore(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if bucket == nil {
		return fmt.Errorf("no server of this configuration listens on %s, and there is no store in %s", c.Listen, c.Store)
	}
	n, err := notify.New(notify.Options{Webhooks: c.Webhooks, Bucket: bucket})
	if err != nil {
		return err
	}
	hooks, err = toldOf(ctx, n, id, webhook)
	return redeliverTo(ctx, w, n, hooks, err, id, "no server runs; the next one sends it")
}

func redeliverTo(ctx context.Context, w io.Writer, d deliveries, hooks []string, err error, id, how string) error {
	if err != nil {
		return err
	}
	for _, hook := range hooks {
		if err := d.Redeliver(ctx, id, hook); err != nil {
			return err
		}
		fmt.Fprintf(w, "message %s for webhook %s: %s\n", id, hook, how)
	}
	return nil
}

// toldOf lists the webhooks that were sent a message, of those that are meant.
func toldOf(ctx context.Context, d deliveries, id, webhook string) ([]string, error) {
	at := strings.LastIndexByte(id, '-')
	if at < 0 {
		return nil, fmt.Errorf("%q is not the ID of a message, which is written INCIDENT-VERSION, such as traffic.12-15", id)
	}
	f := weir.DeliveryFilter{Webhook: webhook, Incident: id[:at], Limit: 1000}
	var hooks []string
	for {
		page, next, err := d.Deliveries(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, told := range page {
			if told.ID == id {
				hooks = append(hooks, told.Webhook)
			}
		}
		if f.Before = next; next == "" {
			break
		}
	}
	if len(hooks) == 0 {
		return nil, fmt.Errorf("message %s: %w", id, weir.ErrUnknownMessage)
	}
	return hooks, nil
}

func webhookNames(c *weir.Config) []string {
	var names []string
	for _, hook := range c.Webhooks {
		names = append(names, hook.Name)
	}
	return names
}

func webhookNamed(cmd *cobra.Command, c *weir.Config, name string) (*weir.WebhookConfig, error) {
	for _, hook := range c.Webhooks {
		if hook.Name == name {
			return hook, nil
		}
	}
	if len(c.Webhooks) == 0 {
		return nil, usagef(cmd, "the configuration has no webhooks")
	}
	return nil, usagef(cmd, "there is no webhook %q; there are: %s", name, strings.Join(webhookNames(c), ", "))
}

// webhookStore opens the store of a configuration, or none where there is none
// yet: to look does not create it.
func webhookStore(ctx context.Context, c *weir.Config) (store.Bucket, func() error, error) {
	if _, err := os.Stat(c.Store); !c.Remote() && errors.Is(err, fs.ErrNotExist) {
		return nil, func() error { return nil }, nil
	}
	if c.Cache != nil {
		c.Cache.Disk = nil // a server may hold it
	}
	r, err := openRooms(ctx, c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	return r.bucket, r.close, nil
}

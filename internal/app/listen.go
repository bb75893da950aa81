package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rotator/internal/config"
)

// listen opens the daemon's doors: for looking (TCP) and for the commands (the socket). Each may be nil.
func listen(c *config.Config, log *slog.Logger) (web, control net.Listener, err error) {
	if c.Listen != "" {
		if web, err = listenTCP(c, log); err != nil {
			return nil, nil, err
		}
	}
	if c.Socket != "" {
		if control, err = listenSocket(c.Socket, c.SocketGroup); err != nil {
			if web != nil {
				err = errors.Join(err, web.Close())
			}
			return nil, nil, err
		}
	}
	if control != nil {
		control = newDoor(control, doorSize(), true)
	}
	return web, control, nil
}

// listenTCP opens the door for looking, with TLS where the configuration names a certificate.
func listenTCP(c *config.Config, log *slog.Logger) (net.Listener, error) {
	var shown *certificate
	if c.ListenTLS.Cert != "" {
		var err error
		if shown, err = newCertificate(c.ListenTLS, log); err != nil {
			return nil, failed(err, "`listen_tls` in "+c.File+" names the files of a certificate and of its key.")
		}
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, failed(err, "`listen` in "+c.File+" must be free; another daemon may have it.")
	}
	l = newDoor(l, doorSize(), false)
	if shown != nil {
		l = tls.NewListener(l, shown.config())
	}
	return l, nil
}

// webURL is where the page is served.
func webURL(c *config.Config, l net.Listener) string {
	scheme := "http://"
	if c.ListenTLS.Cert != "" {
		scheme = "https://"
	}
	return scheme + l.Addr().String()
}

// listenSocket opens the socket for its owner alone, and for group when one is named. A file that a dead daemon left is
// replaced; one at which someone answers is not.
func listenSocket(path, group string) (net.Listener, error) {
	const do = "`socket` in the configuration must be a path in a folder that the daemon may write, used by no other daemon."
	gid, err := groupID(group)
	if err != nil {
		return nil, usage(err, "`socket_group` must be a group of this machine.")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, failed(err, do)
	}
	if err := removeStale(path); err != nil {
		return nil, failed(err, do)
	}
	// The mode is set before the socket has a name (Linux gives the file the mode of the socket, less the umask), so
	// that there is no moment in which others could connect.
	var moded error
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		if err := c.Control(func(fd uintptr) { moded = unix.Fchmod(int(fd), 0o600) }); err != nil {
			return err
		}
		return moded
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, failed(err, do)
	}
	if group != "" {
		err := os.Chown(path, -1, gid)
		if err == nil {
			err = os.Chmod(path, 0o660)
		}
		if err != nil {
			return nil, failed(errors.Join(err, l.Close()), "The daemon must be a member of `socket_group`.")
		}
	}
	return l, nil
}

// removeStale removes a socket at which nothing answers.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is there and is no socket", path)
	}
	conn, err := net.DialTimeout("unix", path, 2*time.Second)
	if err == nil {
		return errors.Join(fmt.Errorf("a daemon answers at %s", path), conn.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// groupID returns the number of a group, given by name or number; -1 for none.
func groupID(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	if id, err := strconv.Atoi(group); err == nil {
		return id, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

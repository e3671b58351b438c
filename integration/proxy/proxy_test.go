package proxy_test

import (
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/integration/proxy"
)

// echo answers each frame with its correlation id.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					f, err := read(c)
					if err != nil {
						return
					}
					c.Write(append([]byte{0, 0, 0, 4}, f[4:8]...))
				}
			}()
		}
	}()
	return l.Addr().String()
}

func read(c net.Conn) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	f := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(c, f)
	return f, err
}

func ask(c net.Conn, api uint16, id uint32) error {
	f := binary.BigEndian.AppendUint32(nil, 8)
	f = binary.BigEndian.AppendUint16(f, api)
	f = binary.BigEndian.AppendUint16(f, 7)
	f = binary.BigEndian.AppendUint32(f, id)
	if _, err := c.Write(f); err != nil {
		return err
	}
	_, err := read(c)
	return err
}

func TestEveryThirdProduceAnswerIsDropped(t *testing.T) {
	p, err := proxy.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Forward(echo(t))
	p.DropEvery(3)
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for id, api := range []uint16{0, 1, 0, 3, 18} {
		if err := ask(c, api, uint32(id)); err != nil {
			t.Fatalf("request %d: %v", id, err)
		}
	}
	if err := ask(c, 0, 99); err == nil {
		t.Error("the third produce request was answered")
	}
	if produced, dropped := p.Counts(); produced != 3 || dropped != 1 {
		t.Errorf("%d produced, %d dropped; want 3 and 1", produced, dropped)
	}
}

// A watched request is cut before the broker has it, or behind its answer.
func TestWatch(t *testing.T) {
	p, err := proxy.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Forward(echo(t))
	for _, behind := range []bool{false, true} {
		var asked, answers atomic.Int64
		p.Watch(func(api int, answered bool) bool {
			switch {
			case api != 8:
				return true
			case answered:
				answers.Add(1)
			default:
				asked.Add(1)
			}
			return answered != behind
		})
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(c, 9, 1); err != nil {
			t.Errorf("another request: %v", err)
		}
		if err := ask(c, 8, 2); err == nil || asked.Load() != 1 || answers.Load() != map[bool]int64{true: 1}[behind] {
			t.Errorf("cut behind the answer %v: %v, asked about %d requests and %d answers", behind, err, asked.Load(), answers.Load())
		}
		c.Close()
	}
	p.Watch(nil)
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(c, 8, 3); err != nil {
		t.Errorf("watched no more: %v", err)
	}
}

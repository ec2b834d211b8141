// Package nbd serves disks over the network by the protocol NBD, for tests: the lab's machine serves
// the clones of a drill, and QEMU on another machine uses them.
package nbd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// The numbers of the protocol (github.com/NetworkBlockDevice/nbd, doc/proto.md) that this server
// needs.
const (
	greeting     = 0x4e42444d41474943 // NBDMAGIC
	optionMagic  = 0x49484156454f5054 // IHAVEOPT
	replyMagic   = 0x3e889045565a9
	requestMagic = 0x25609513
	answerMagic  = 0x67446698

	optionExport, optionAbort, optionInfo, optionGo     = 1, 2, 6, 7
	replyAck, replyInfo, replyUnsupported, replyUnknown = 1, 3, 1<<31 + 1, 1<<31 + 6
	read, write, disconnect, flush                      = 0, 1, 2, 3

	canFlush  = 1 | 4 // the flags are valid, and flush is known
	maxOption = 1 << 12
	maxLength = 64 << 20
)

// Serve accepts connections until the listener is closed. Each connection can read and write the
// disk whose name the client asks for. disks has the path of each disk, a device or a file, by name.
func Serve(l net.Listener, disks map[string]string) error {
	for {
		connection, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = connection.Close() }()
			if err := serve(connection, disks); err != nil {
				fmt.Fprintln(os.Stderr, "nbd:", err)
			}
		}()
	}
}

// server is one connection.
type server struct {
	in   *bufio.Reader
	out  *bufio.Writer
	disk *os.File
	size uint64
}

func serve(connection net.Conn, disks map[string]string) error {
	s := server{in: bufio.NewReader(connection), out: bufio.NewWriter(connection)}
	defer func() { _ = s.disk.Close() }()
	more, err := s.negotiate(disks)
	for more && err == nil {
		more, err = s.answer()
	}
	return err
}

// open opens the disk that the client asks for.
func (s *server) open(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_ = s.disk.Close() // the disk of an earlier question
	s.disk = file
	size, err := file.Seek(0, io.SeekEnd)
	s.size = uint64(size)
	return err
}

// send writes values to the client, in the byte order of the network.
func (s *server) send(values ...any) {
	for _, v := range values {
		_ = binary.Write(s.out, binary.BigEndian, v) // Flush returns the error
	}
}

func (s *server) receive(v any) error { return binary.Read(s.in, binary.BigEndian, v) }

// negotiate lets the client choose a disk. chosen is false if the client leaves without a disk.
func (s *server) negotiate(disks map[string]string) (chosen bool, err error) {
	const fixed, withoutZeroes = 1, 2
	s.send(uint64(greeting), uint64(optionMagic), uint16(fixed|withoutZeroes))
	if err := s.out.Flush(); err != nil {
		return false, err
	}
	var flags uint32
	if err := s.receive(&flags); err != nil {
		return false, err
	}
	for {
		var option struct {
			Magic          uint64
			Option, Length uint32
		}
		if err := s.receive(&option); err != nil {
			return false, err
		}
		if option.Magic != optionMagic || option.Length > maxOption {
			return false, errors.New("the client sent no option")
		}
		data := make([]byte, option.Length)
		if _, err := io.ReadFull(s.in, data); err != nil {
			return false, err
		}
		reply := func(kind uint32, values ...any) {
			length := 0
			for _, v := range values {
				length += binary.Size(v)
			}
			s.send(append([]any{uint64(replyMagic), option.Option, kind, uint32(length)}, values...)...)
		}
		path, known := disks[wanted(option.Option, data)]
		switch option.Option {
		case optionExport:
			if !known {
				return false, fmt.Errorf("the client asked for the unknown disk %q", data)
			}
			if err := s.open(path); err != nil {
				return false, err
			}
			s.send(s.size, uint16(canFlush))
			if flags&withoutZeroes == 0 {
				s.send(make([]byte, 124))
			}
			return true, s.out.Flush()
		case optionInfo, optionGo:
			if !known {
				reply(replyUnknown)
				break
			}
			if err := s.open(path); err != nil {
				return false, err
			}
			reply(replyInfo, uint16(0), s.size, uint16(canFlush))
			reply(replyAck)
			chosen = option.Option == optionGo
		case optionAbort:
			reply(replyAck)
			return false, s.out.Flush()
		default:
			reply(replyUnsupported)
		}
		if err := s.out.Flush(); chosen || err != nil {
			return chosen, err
		}
	}
}

// wanted returns the name of the disk in the data of an option.
func wanted(option uint32, data []byte) string {
	if option == optionExport {
		return string(data)
	}
	if len(data) < 4 {
		return ""
	}
	length := binary.BigEndian.Uint32(data)
	return string(data[4:min(4+uint64(length), uint64(len(data)))])
}

// answer answers one request. more is false after the last one.
func (s *server) answer() (more bool, err error) {
	var r struct {
		Magic          uint32
		Flags, Type    uint16
		Handle, Offset uint64
		Length         uint32
	}
	if err := s.receive(&r); err != nil {
		return false, err
	}
	if r.Magic != requestMagic || r.Length > maxLength {
		return false, errors.New("the client sent no request")
	}
	var data []byte
	switch r.Type {
	case disconnect:
		return false, nil
	case read:
		data = make([]byte, r.Length)
		_, err = s.disk.ReadAt(data, int64(r.Offset))
	case write:
		sent := make([]byte, r.Length)
		if _, err := io.ReadFull(s.in, sent); err != nil {
			return false, err
		}
		_, err = s.disk.WriteAt(sent, int64(r.Offset))
	case flush:
		err = s.disk.Sync()
	default:
		err = errors.ErrUnsupported
	}
	const failed = 5 // EIO
	if err != nil {
		s.send(uint32(answerMagic), uint32(failed), r.Handle)
	} else {
		s.send(uint32(answerMagic), uint32(0), r.Handle, data)
	}
	return true, s.out.Flush()
}

// Files as file systems: made, mounted through a loop device, grown.
//
// XFS, because it grows while it is mounted without CAP_SYS_RESOURCE, which ext4 asks for and many containers lack. A
// loop device lives exactly as long as its mount (autoclear): when a node is killed, its mounts go, and its devices with
// them.

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The number by which the kernel knows loop devices (Documentation/admin-guide/devices.txt).
const loopMajor = 7

// Below this size mkfs.xfs 6 asks to be told that one means it; earlier ones know neither the limit nor the option.
const smallBytes = 300 * mebibyte

// makeVolume writes a file system of `bytes` bytes into a new file, which appears whole or not at all. Blocks of the disk
// are taken when they are written.
func makeVolume(path string, bytes int64) error {
	fresh := path + ".new"
	file, err := os.OpenFile(fresh, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(fresh)
	if err := errors.Join(file.Truncate(bytes), file.Close()); err != nil {
		return err
	}
	if err := run("mkfs.xfs", "-q", "-f", fresh); err != nil {
		if bytes >= smallBytes {
			return err
		}
		if err := run("mkfs.xfs", "-q", "-f", "--unsupported", fresh); err != nil {
			return err
		}
	}
	return os.Rename(fresh, path)
}

// mountVolume mounts the file system in a file.
func mountVolume(path, target string) error {
	device, loop, err := attach(path)
	if err != nil {
		return err
	}
	// The mount holds the device from here on; without one, closing frees it.
	defer loop.Close()
	return unix.Mount(device, target, "xfs", unix.MS_NOATIME, "")
}

// attach finds a free loop device and puts the file behind it. The device is free again once nobody has it open.
func attach(path string) (string, *os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", nil, err
	}
	defer file.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", nil, err
	}
	defer control.Close()
	for {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", nil, fmt.Errorf("find a free loop device: %w", err)
		}
		device := fmt.Sprintf("/dev/loop%d", number)
		// Where /dev is not the kernel's own, as in a container, nobody makes the file of a new device.
		if err := unix.Mknod(device, unix.S_IFBLK|0o660, int(unix.Mkdev(loopMajor, uint32(number)))); err != nil && err != unix.EEXIST {
			return "", nil, fmt.Errorf("make %s: %w", device, err)
		}
		loop, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			return "", nil, err
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd())}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		if err == nil {
			return device, loop, nil
		}
		loop.Close()
		// Another process has taken it in between.
		if err != unix.EBUSY {
			return "", nil, fmt.Errorf("attach %s: %w", device, err)
		}
	}
}

// growVolume makes the file, the device and the file system at least `bytes` bytes large; never smaller.
func growVolume(path, device, mountPoint string, bytes int64) error {
	found, err := os.Stat(path)
	if err != nil {
		return err
	}
	if found.Size() < bytes {
		if err := os.Truncate(path, bytes); err != nil {
			return err
		}
	}
	loop, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer loop.Close()
	if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("tell %s that its file has grown: %w", device, err)
	}
	return run("xfs_growfs", mountPoint)
}

// mountedFrom says what is mounted at a path, or nothing.
func mountedFrom(path string) (string, error) {
	file, err := os.Open("/proc/self/mounts")
	if err != nil {
		return "", status.Errorf(codes.Internal, "list mounts: %v", err)
	}
	defer file.Close()
	source := ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		// The last one is on top.
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[1] == path {
			source = words[0]
		}
	}
	return source, nil
}

// unmount takes away what is mounted at a path, if anything is.
func unmount(path string) error {
	source, err := mountedFrom(path)
	if err != nil || source == "" {
		return err
	}
	if err := unix.Unmount(path, 0); err != nil {
		return status.Errorf(codes.Internal, "unmount %s: %v", path, err)
	}
	return nil
}

func run(name string, arguments ...string) error {
	if said, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(said)))
	}
	return nil
}

//! A WASI program in Zig: it greets every line of its standard input after a pause, and exits with their number.

const std = @import("std");

pub fn main(init: std.process.Init) !u8 {
    const io = init.io;
    var input_buffer: [256]u8 = undefined;
    var output_buffer: [256]u8 = undefined;
    var input = std.Io.File.stdin().reader(io, &input_buffer);
    var output = std.Io.File.stdout().writer(io, &output_buffer);
    var lines: u8 = 0;
    while (try input.interface.takeDelimiter('\n')) |line| {
        try std.Io.sleep(io, .fromMilliseconds(20), .awake);
        try output.interface.print("hello {s}\n", .{line});
        try output.interface.flush();
        lines += 1;
    }
    return lines;
}

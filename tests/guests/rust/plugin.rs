//! A program with functions that a list names as sources do: methods of traits, generics, closures, what the standard
//! library calls back.

use std::fmt;

#[link(wasm_import_module = "env")]
extern "C" {
    fn ask(value: i32) -> i32;
}

trait Tool {
    fn run(&self, value: i32) -> i32;
}

struct Doubled;
struct Shown<T>(T);

impl Tool for Doubled {
    #[inline(never)]
    fn run(&self, value: i32) -> i32 {
        2 * asked(value)
    }
}

impl<T: fmt::Display> Tool for Shown<T> {
    #[inline(never)]
    fn run(&self, value: i32) -> i32 {
        let text = format!("{}:{}", self.0, Asked(value));
        text.bytes().fold(0, |sum, byte| sum * 31 % 9973 + i32::from(byte))
    }
}

struct Asked(i32);

impl fmt::Display for Asked {
    #[inline(never)]
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{:>5}", asked(self.0))
    }
}

#[inline(never)]
fn asked(value: i32) -> i32 {
    unsafe { ask(value) + 1 }
}

#[inline(never)]
fn sorted(values: &mut Vec<i32>) {
    values.sort_by_key(|value| asked(*value));
}

#[no_mangle]
pub extern "C" fn tools(value: i32) -> i32 {
    let tools: Vec<Box<dyn Tool>> = vec![Box::new(Doubled), Box::new(Shown("a")), Box::new(Shown(7))];
    tools.iter().map(|tool| tool.run(value)).sum()
}

#[no_mangle]
pub extern "C" fn order(value: i32) -> i32 {
    let mut values: Vec<i32> = (0..value).collect();
    sorted(&mut values);
    values.iter().fold(0, |sum, value| sum * 10 + value)
}

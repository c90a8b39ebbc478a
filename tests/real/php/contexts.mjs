/**
 * Places in a PHP program from which a function that suspends is called: each a program and what it prints.
 *
 * `wait($value)` suspends and returns its argument; how it suspends is the test's choice. Between it and the export that
 * the host called lies another part of PHP's C code in each of these programs.
 */

export const contexts = {
  "the top level": ["echo wait(1), wait(2);", "12"],
  "a function": ["function f($x) { return wait($x) + wait(1); } echo f(2);", "3"],
  "recursion": ["function f($n) { return $n ? wait(1) + f($n - 1) : 0; } echo f(30);", "30"],
  "a method": ["class A { public $x = 2; function f() { return wait($this->x); } } echo (new A)->f();", "2"],
  "a static method": ["class A { static function f($x) { return wait($x); } } echo A::f(3), call_user_func('A::f', 4);", "34"],
  "a constructor": ["class A { public $x; function __construct($x) { $this->x = wait($x); } } echo (new A(5))->x;", "5"],
  "a destructor": ["class A { function __destruct() { echo wait('gone'); } } $a = new A; $a = null; echo '.';", "gone."],
  "a destructor at the end": ["class A { function __destruct() { echo wait('gone'); } } $a = new A; echo 'end ';", "end gone"],
  "__get": ["class A { function __get($name) { return wait($name); } } echo (new A)->colour;", "colour"],
  "__set": ["class A { function __set($name, $value) { echo wait(\"$name=$value\"); } } $a = new A; $a->x = 1;", "x=1"],
  "__isset and __unset": [
    "class A { function __isset($n) { return wait(true); } function __unset($n) { echo wait($n); } } $a = new A; echo isset($a->x) ? 'yes ' : 'no '; unset($a->y);",
    "yes y",
  ],
  "__call": ["class A { function __call($name, $list) { return wait($name . count($list)); } } echo (new A)->go(1, 2);", "go2"],
  "__callStatic": ["class A { static function __callStatic($name, $list) { return wait($name); } } echo A::go();", "go"],
  "__toString": ["class A { function __toString() { return wait('text'); } } echo new A, strlen(new A);", "text4"],
  "__invoke": ["class A { function __invoke($x) { return wait($x); } } echo implode(array_map(new A, [1, 2, 3]));", "123"],
  "__clone": ["class A { public $x = 1; function __clone() { $this->x = wait(2); } } $a = new A; $b = clone $a; echo $a->x, $b->x;", "12"],
  "__debugInfo": ["class A { function __debugInfo() { return ['x' => wait(7)]; } } echo strlen(print_r(new A, true)) > 5 ? 'shown' : '';", "shown"],
  "an iterator": [
    "class A implements Iterator { private $i = 0; function current(): mixed { return wait($this->i); } function key(): mixed { return wait('k'); } function next(): void { $this->i++; wait(0); } function rewind(): void { wait(0); } function valid(): bool { return wait($this->i < 3); } } foreach (new A as $k => $v) echo $k, $v;",
    "k0k1k2",
  ],
  "iterator_to_array over an aggregate": [
    "class A implements IteratorAggregate { function getIterator(): Iterator { wait(0); yield wait(1); yield wait(2); } } echo implode(iterator_to_array(new A));",
    "12",
  ],
  "a generator": ["function g() { for ($i = 0; $i < 3; $i++) { $x = yield wait($i); echo $x; } return wait('r'); } $g = g(); foreach ($g as $v) echo $v; echo $g->getReturn();", "012r"],
  "yield from": ["function inner() { yield wait(1); return wait(2); } function outer() { $x = yield from inner(); yield $x; } foreach (outer() as $v) echo $v;", "12"],
  "a closure": ["$y = 2; $f = function ($x) use ($y) { return wait($x * $y); }; echo $f(4);", "8"],
  "a closure made of a function": ["$f = wait(...); echo $f(6), Closure::fromCallable('wait')(7);", "67"],
  "array_map": ["echo implode(',', array_map(fn($x) => wait($x * 2), [1, 2, 3]));", "2,4,6"],
  "array_filter": ["echo implode(',', array_filter([1, 2, 3, 4], fn($x) => wait($x % 2 == 0)));", "2,4"],
  "array_reduce": ["echo array_reduce([1, 2, 3], fn($sum, $x) => wait($sum + $x), 0);", "6"],
  "array_walk": ["$a = [1, 2]; array_walk($a, function (&$x) { $x = wait($x + 1); }); echo implode($a);", "23"],
  "usort": ["$a = [3, 1, 2, 5, 4]; usort($a, fn($x, $y) => wait($x <=> $y)); echo implode($a);", "12345"],
  "uksort": ["$a = ['b' => 1, 'c' => 2, 'a' => 3]; uksort($a, fn($x, $y) => wait(strcmp($x, $y))); echo implode(array_keys($a));", "abc"],
  "preg_replace_callback": ["echo preg_replace_callback('/\\d+/', fn($m) => wait($m[0] * 2), 'a1 b22 c3');", "a2 b44 c6"],
  "call_user_func_array": ["echo call_user_func_array('wait', [9]), (new ReflectionFunction('wait'))->invoke(8);", "98"],
  "an output callback": ["ob_start(fn($text) => strtoupper(wait($text))); echo 'abc'; ob_end_flush();", "ABC"],
  // Without garbage collection, which PHP does in one session of a hundred, by chance.
  "a session handler": [
    "class S implements SessionHandlerInterface { function open($p, $n): bool { return wait(true); } function close(): bool { return wait(true); } function read($id): string { return wait('x|i:5;'); } function write($id, $data): bool { $GLOBALS['written'] = wait($data); return true; } function destroy($id): bool { return wait(true); } function gc($max): int { return wait(0); } } ini_set('session.gc_probability', '0'); session_set_save_handler(new S, false); session_id('abc'); @session_start(); $x = $_SESSION['x']; $_SESSION['y'] = 6; session_write_close(); echo $x, $written;",
    "5x|i:5;y|i:6;",
  ],
  "a stream wrapper": [
    "class W { public $context; private $i = 0; function stream_open($path, $mode, $options, &$opened) { return wait(true); } function stream_read($n) { return wait($this->i++ ? '' : 'content'); } function stream_eof() { return wait($this->i > 1); } function stream_stat() { return wait([]); } function stream_close() { wait(0); } function url_stat($path, $flags) { return wait(['mode' => 0100644]); } } stream_wrapper_register('wait', 'W'); echo file_get_contents('wait://x'), file_exists('wait://y') ? '!' : '?';",
    "content!",
  ],
  // PHP allows no network in here: this one always sleeps.
  "include through a stream wrapper": [
    "function nap($x) { usleep(20); return $x; } class W { public $context; private $i = 0; function stream_open($path, $mode, $options, &$opened) { return nap(true); } function stream_read($n) { return nap($this->i++ ? '' : '<?php return nap(11);'); } function stream_eof() { return nap($this->i > 1); } function stream_stat() { return nap([]); } function stream_close() { nap(0); } function stream_set_option($a, $b, $c) { return false; } } stream_wrapper_register('wait', 'W'); echo include 'wait://x';",
    "11",
  ],
  "a stream filter": [
    "class F extends php_user_filter { function filter($in, $out, &$consumed, bool $closing): int { while ($b = stream_bucket_make_writeable($in)) { $b->data = strtoupper(wait($b->data)); $consumed += $b->datalen; stream_bucket_append($out, $b); } return PSFS_PASS_ON; } function onCreate(): bool { return wait(true); } function onClose(): void { wait(0); } } stream_filter_register('wait', 'F'); $f = fopen('php://memory', 'w+'); stream_filter_append($f, 'wait', STREAM_FILTER_WRITE); fwrite($f, 'loud'); rewind($f); echo fread($f, 10); fclose($f);",
    "LOUD",
  ],
  "an autoloader": ["spl_autoload_register(function ($name) { wait(0); eval(\"class $name { const X = 4; }\"); }); echo Later::X, class_exists('Other') ? 'yes' : 'no';", "4yes"],
  "an error handler": ["set_error_handler(function ($number, $text) { echo wait('handled '); return true; }); echo $undefined; trigger_error('x'); echo 'on';", "handled handled on"],
  "an exception handler": ["set_exception_handler(function ($e) { echo wait($e->getMessage()); }); throw new Exception('thrown');", "thrown"],
  "catch and finally": ["try { wait(0); throw new Exception(wait('a')); } catch (Exception $e) { echo wait($e->getMessage()); } finally { echo wait('b'); }", "ab"],
  "an exception thrown through C code": ["try { array_map(function ($x) { wait(0); throw new Exception('x'); }, [1]); } catch (Exception $e) { echo $e->getMessage(), wait('y'); }", "xy"],
  "a shutdown function": ["register_shutdown_function(function () { echo wait(' shut'); register_shutdown_function(fn() => print(wait(' twice'))); }); echo 'end';", "end shut twice"],
  "serialize and unserialize": [
    "class A { public $x = 1; function __serialize(): array { return ['x' => wait(2)]; } function __unserialize(array $d): void { $this->x = wait($d['x'] + 1); } } echo unserialize(serialize(new A))->x;",
    "3",
  ],
  "__sleep and __wakeup": ["class A { public $x = 1; function __sleep() { return wait(['x']); } function __wakeup() { $this->x = wait(9); } } echo unserialize(serialize(new A))->x;", "9"],
  "ArrayAccess": [
    "class A implements ArrayAccess { private $d = []; function offsetExists($o): bool { return wait(isset($this->d[$o])); } function offsetGet($o): mixed { return wait($this->d[$o]); } function offsetSet($o, $v): void { $this->d[$o] = wait($v); } function offsetUnset($o): void { wait(0); unset($this->d[$o]); } } $a = new A; $a['x'] = 5; echo isset($a['x']) ? $a['x'] : '-'; unset($a['x']); echo empty($a['x']) ? 'empty' : '';",
    "5empty",
  ],
  "Countable": ["class A implements Countable { function count(): int { return wait(12); } } echo count(new A);", "12"],
  "JsonSerializable": ["class A implements JsonSerializable { function jsonSerialize(): mixed { return ['x' => wait(1)]; } } echo json_encode([new A, new A]);", '[{"x":1},{"x":1}]'],
  "comparison by an SPL heap": ["class H extends SplMinHeap { protected function compare($a, $b): int { return wait($b <=> $a); } } $h = new H; foreach ([3, 1, 2] as $x) $h->insert($x); foreach ($h as $x) echo $x;", "123"],
  "include": ["file_put_contents('/tmp/part.php', '<?php echo wait(\"in\"); return wait(\"out\");'); echo include '/tmp/part.php';", "inout"],
  "eval": ["echo eval('return wait(4) . wait(2);');", "42"],
  "a constant expression": ["class A { function __construct(public $x = new B) {} } class B { public $y; function __construct() { $this->y = wait(3); } } echo (new A)->x->y;", "3"],
  "a tick function": ["declare(ticks=1) { register_tick_function(function () { echo wait('t'); }); $x = 1; } echo 'e';", "tte"],
  "assert and sprintf arguments": ["printf('%s-%s', wait('a'), str_repeat(wait('b'), 2));", "a-bb"],
  "a query callback of SQLite": ["$db = new PDO('sqlite::memory:'); $db->sqliteCreateFunction('wait', fn($x) => wait($x . '!'), 1); echo $db->query(\"select wait('db')\")->fetchColumn();", "db!"],
  "an SQLite aggregate": ["$db = new PDO('sqlite::memory:'); $db->sqliteCreateAggregate('total', fn($c, $n, $x) => wait($c + $x), fn($c, $n) => wait($c), 1); echo $db->query('select total(x) from (select 1 as x union select 2)')->fetchColumn();", "3"],
  "an XML parser's handler": ["$p = xml_parser_create(); xml_set_element_handler($p, function ($p, $n) { echo wait($n); }, function ($p, $n) { echo wait('/'); }); xml_parse($p, '<a><b/></a>', true);", "AB//"],
  "exit after a suspension": ["wait(0); echo 'bye'; exit(3);", "bye", 3],
  "a fatal error after a suspension": ["ini_set('display_errors', '0'); wait(0); echo 'before '; undefined_function();", "before ", 255],
  "exit inside a callback": ["array_map(function ($x) { wait(0); echo $x; exit(4); }, [1, 2]); echo 'never';", "1", 4],
};

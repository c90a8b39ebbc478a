/**
 * What QuickJS is measured with: small programs, each about a part of the interpreter. Each is the source of a function
 * of `n` that returns a value; `size` is the `n` with which it runs for some 25 milliseconds.
 */

export const PROGRAMS = {
  loops: {
    size: 700_000,
    source: (n) => {
      let sum = 0;
      for (let i = 0; i < n; i++) sum = (sum + i * 7) & 0xffffff;
      for (let i = n; i > 0; i -= 3) if (i % 5 != 1) sum ^= i;
      return sum;
    },
  },
  recursion: {
    size: 820_000,
    source: (n) => {
      const fibonacci = (k) => (k < 2 ? k : fibonacci(k - 1) + fibonacci(k - 2));
      let sum = 0;
      for (let calls = 0; calls < n; calls += 21891) sum += fibonacci(20);
      return sum;
    },
  },
  properties: {
    size: 170_000,
    source: (n) => {
      const point = { x: 1, y: 2, next: { x: 3, y: 4 } };
      for (let i = 0; i < n; i++) {
        point.x = point.next.y + i;
        point.next.y = (point.x ^ point.y) & 0xffff;
        point["y"] += point.next.x;
      }
      return [point.x, point.y, point.next.y];
    },
  },
  methods: {
    size: 67_000,
    source: (n) => {
      class Shape {
        constructor(side) {
          this.side = side;
        }
        area() {
          return this.side * this.side;
        }
        get twice() {
          return this.area() * 2;
        }
      }
      class Box extends Shape {
        area() {
          return super.area() + 1;
        }
      }
      let sum = 0;
      for (let i = 0; i < n; i++) sum += (i & 1 ? new Box(i & 63) : new Shape(i & 31)).twice;
      return sum;
    },
  },
  closures: {
    size: 320_000,
    source: (n) => {
      const counter = (step) => {
        let count = 0;
        return () => (count += step);
      };
      const compose = (f, g) => (x) => g(f(x));
      const one = counter(1);
      const two = counter(2);
      const both = compose((x) => x + one(), (x) => x ^ two());
      let value = 0;
      for (let i = 0; i < n; i += 2) value = both(value) & 0xffff;
      return value;
    },
  },
  arrays: {
    size: 82_000,
    source: (n) => {
      const list = [];
      for (let i = 0; i < n; i++) list.push((i * 31) % 1009);
      const sums = list
        .map((x) => x * 2)
        .filter((x) => x % 3 != 0)
        .reduce((sum, x) => (sum + x) & 0xffffff, 0);
      let other = 0;
      for (const x of list) other ^= x;
      while (list.length > n / 2) other += list.pop();
      return [sums, other, list.slice(5, 10), list.indexOf(1008)];
    },
  },
  sort: {
    size: 25_000,
    source: (n) => {
      let seed = 7;
      const random = () => (seed = (seed * 1103515245 + 12345) % 2147483648);
      const numbers = Array.from({ length: n }, random);
      const words = numbers.slice(0, n / 4).map((x) => x.toString(36));
      numbers.sort((a, b) => a - b);
      words.sort();
      return [numbers[0], numbers[n >> 1], words[0], words[words.length >> 1]];
    },
  },
  strings: {
    size: 42_000,
    source: (n) => {
      let text = "";
      let sum = 0;
      for (let i = 0; i < n; i++) {
        text += String.fromCharCode(97 + (i % 26)) + i;
        if (text.length > 2000) {
          sum += text.split("a").length + text.indexOf("z99") + text.toUpperCase().lastIndexOf("Q");
          text = text.slice(1500).replace("b", "bb").trim();
        }
        sum += `${i}:${text.length}`.charCodeAt(i % 3);
      }
      return sum;
    },
  },
  "regular expressions": {
    size: 1000,
    source: (n) => {
      const line = "2024-07-16 error in module core/io.c:1042, retry after 17.5 s; user=anna@example.org id=0x7fe3";
      let found = 0;
      for (let i = 0; i < n; i++) {
        found += /(\d{4})-(\d\d)-(\d\d)/.exec(line)[2].length;
        found += line.match(/\b[a-z]+\b/g).length;
        found += line.replace(/(\w+)@(\w+)\.org/, "$2:$1").length;
        found += /^(?:[^;]|;(?! user))*; user=(?<name>\w+)/.test(line) ? 1 : 0;
        found += line.split(/[\s,;=]+/).length;
      }
      return found;
    },
  },
  JSON: {
    size: 70,
    source: (n) => {
      const data = {
        title: "a list of things",
        things: Array.from({ length: 100 }, (_, i) => ({ id: i, name: `thing ${i}`, tags: ["a", "b\n"], price: i / 7, gone: i % 2 == 0 })),
      };
      let length = 0;
      for (let i = 0; i < n; i++) {
        const text = JSON.stringify(data);
        length += text.length + JSON.parse(text).things[i % 100].id;
      }
      return length;
    },
  },
  generators: {
    size: 250_000,
    source: (n) => {
      function* numbers(to) {
        for (let i = 0; i < to; i++) yield i;
      }
      function* even(source) {
        for (const x of source) if (x % 2 == 0) yield x;
      }
      let sum = 0;
      for (const x of even(numbers(n))) sum = (sum + x) & 0xffffff;
      const [first, second, ...rest] = numbers(100);
      return [sum, first, second, rest.length];
    },
  },
  exceptions: {
    size: 35_000,
    source: (n) => {
      const check = (x) => {
        if (x % 3 == 0) throw new RangeError(`bad ${x % 7}`);
        return x;
      };
      let sum = 0;
      for (let i = 0; i < n; i++) {
        try {
          sum += check(i) & 0xff;
        } catch (error) {
          sum += error.message.length;
        } finally {
          sum++;
        }
      }
      return sum;
    },
  },
  "maps and sets": {
    size: 65_000,
    source: (n) => {
      const map = new Map();
      const set = new Set();
      for (let i = 0; i < n; i++) {
        const key = `k${i % 997}`;
        map.set(key, (map.get(key) ?? 0) + i);
        set.add(i % 4093);
        if (i % 5 == 0) set.delete((i * 3) % 4093);
      }
      let sum = 0;
      map.forEach((value, key) => (sum = (sum + value + key.length) & 0xffffff));
      return [sum, map.size, set.size];
    },
  },
  "typed arrays": {
    size: 200_000,
    source: (n) => {
      const heights = new Float64Array(1024);
      const bytes = new Uint8Array(4096);
      for (let i = 0; i < n; i++) {
        heights[i & 1023] = heights[(i * 7) & 1023] * 0.5 + i;
        bytes[i & 4095] += (heights[i & 1023] | 0) + bytes[(i * 5) & 4095];
      }
      return [heights[100], bytes.reduce((sum, x) => sum + x, 0)];
    },
  },
};

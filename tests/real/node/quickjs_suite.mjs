// Scripts for QuickJS that call a host function from wherever the interpreter can call a function. Each is a function
// whose source is run and whose result is compared. The host gives them:
//   ask(x)    a number that depends on x (and on nothing else)
//   text(x)   a string
//   fail(x)   throws an Error
/* global ask, text, fail */

export const SCRIPTS = {
  "array callbacks": () => {
    const list = Array.from({ length: 12 }, (_, i) => ask(i));
    return [
      list.map((x, i) => ask(x + i)),
      list.filter((x) => ask(x) % 3 === 0),
      list.find((x) => ask(x) % 5 === 1),
      list.findIndex((x) => ask(x) % 7 === 2),
      list.some((x) => ask(x) > 90),
      list.every((x) => ask(x) >= 0),
      list.flatMap((x) => [ask(x), [x]]),
      list.reduce((a, b) => (a * 3 + ask(b)) % 10007, 1),
      list.reduceRight((a, b) => a + text(b), ""),
    ];
  },

  "forEach over several collections": () => {
    const seen = [];
    [3, 1, 2].forEach((x) => seen.push(ask(x)));
    new Map([
      ["a", 1],
      ["b", 2],
    ]).forEach((value, key) => seen.push(key + ask(value)));
    new Set([5, 6]).forEach((value) => seen.push(text(value)));
    new Uint8Array([9, 8]).forEach((value) => seen.push(ask(value)));
    return seen;
  },

  "sort comparator": () => {
    const list = Array.from({ length: 40 }, (_, i) => (i * 17) % 41);
    const typed = Float64Array.from(list);
    return [
      list.slice().sort((a, b) => ask(a) - ask(b)),
      Array.from(typed.sort((a, b) => ask(b) - ask(a))),
      ["pear", "fig", "apple"].sort((a, b) => ask(a.length) - ask(b.length)),
    ];
  },

  generators: () => {
    function* inner(n) {
      for (let i = 0; i < n; i++) {
        const got = yield ask(i);
        if (got) yield text(got);
      }
      return ask(100);
    }
    function* outer() {
      const result = yield* inner(4);
      yield result;
      try {
        yield ask(7);
      } finally {
        yield ask(8);
      }
    }
    const iterator = outer();
    const seen = [iterator.next(), iterator.next(5), iterator.next(), ...iterator];
    const early = outer();
    early.next();
    seen.push(early.return(3));
    return seen;
  },

  "iterators and destructuring": () => {
    const countable = {
      *[Symbol.iterator]() {
        for (let i = 0; i < 5; i++) yield ask(i);
      },
    };
    const manual = {
      [Symbol.iterator]() {
        let i = 0;
        return {
          next: () => ({ done: i >= 4, value: ask(i++) }),
          return: () => {
            log.push(ask(50));
            return {};
          },
        };
      },
    };
    const log = [];
    const [a, , b, ...rest] = countable;
    const [first] = manual;
    for (const value of manual) {
      log.push(value);
      if (log.length > 3) break;
    }
    return [
      a,
      b,
      rest,
      first,
      log,
      Math.max(...countable),
      new Set(countable).size,
      Object.fromEntries([...manual].map((v, i) => [i, v])),
    ];
  },

  "getters and setters": () => {
    const log = [];
    const object = {
      get value() {
        return ask(log.length);
      },
      set value(x) {
        log.push(ask(x));
      },
      ["computed" + ask(1)]: 1,
    };
    object.value = 3;
    object.value += 4;
    object.value++;
    class Box {
      #hidden = ask(9);
      get hidden() {
        return ask(this.#hidden);
      }
      set hidden(x) {
        this.#hidden = ask(x);
      }
      static get shared() {
        return text(2);
      }
    }
    const box = new Box();
    box.hidden = box.hidden + 1;
    Object.defineProperty(object, "late", { get: () => ask(77), enumerable: true });
    return [object.value, log, box.hidden, Box.shared, { ...object }, Object.entries(object), JSON.stringify(object)];
  },

  "proxy traps": () => {
    const log = [];
    const proxy = new Proxy(function () {}, {
      get: (target, key) => (log.push(String(key)), ask(String(key).length)),
      has: (target, key) => ask(key.length) % 2 === 0,
      set: (target, key, value) => {
        log.push(key + ask(value));
        return true;
      },
      deleteProperty: (target, key) => ask(1) > 0,
      apply: (target, self, list) => list.map((x) => ask(x)),
      construct: (target, list) => ({ made: ask(list[0]) }),
      ownKeys: () => ["prototype", text(3)],
      getOwnPropertyDescriptor: (target, key) =>
        Reflect.getOwnPropertyDescriptor(target, key) ?? {
          value: ask(4),
          enumerable: true,
          configurable: true,
        },
    });
    proxy.written = 5;
    delete proxy.gone;
    return [
      proxy.x,
      proxy.long_name,
      "abc" in proxy,
      "abcd" in proxy,
      proxy(1, 2, 3),
      new proxy(6).made,
      Object.keys(proxy),
      log,
    ];
  },

  "JSON revivers and replacers": () => {
    const data = '{"a":[1,2,{"b":3}],"c":"text","d":null,"e":{"f":[[],[4]]}}';
    return [
      JSON.parse(data, (key, value) =>
        typeof value === "number" ? ask(value) : typeof value === "string" ? text(value.length) : value,
      ),
      JSON.stringify(JSON.parse(data), (key, value) => (key === "c" ? ask(9) : value), 1),
      JSON.stringify({ at: { toJSON: (key) => text(key.length) }, list: [{ toJSON: () => ask(5) }] }),
    ];
  },

  "toString and valueOf": () => {
    const number = { valueOf: () => ask(4), toString: () => text(1) };
    const key = { toString: () => "key" + ask(2) };
    const primitive = { [Symbol.toPrimitive]: (hint) => (hint === "number" ? ask(6) : text(hint.length)) };
    const object = { [key]: 1 };
    return [
      number + 1,
      `${number}`,
      number * number,
      number < 50,
      [1, number, key].join("-"),
      object,
      key in object,
      +primitive,
      `${primitive}`,
      primitive + "",
      "abcdef".slice(number % 3, 4),
      [9, 8, 7].indexOf(number),
      Number(number),
      String(key),
      isNaN({ valueOf: () => ask(1) / "x" }),
    ];
  },

  "string and regular expression callbacks": () => {
    const line = "one two  three four";
    const matcher = {
      [Symbol.replace]: (s, r) => s + r + ask(1),
      [Symbol.split]: (s) => [s, text(2)],
      [Symbol.match]: () => ask(3),
    };
    return [
      line.replace(/[a-z]+/g, (word, at) => text(word.length) + ask(at)),
      line.replace("two", () => text(9)),
      line.replaceAll(/(t)(\w+)/g, (all, t, rest) => ask(rest.length) + t),
      line.replace(matcher, "x"),
      line.split(matcher),
      line.match(matcher),
      [...line.matchAll(/\w+/g)].map((m) => ask(m.index)),
      line.split(/\s+/).map(text),
    ];
  },

  "deep recursion": () => {
    const down = (n) => (n === 0 ? ask(1) : down(n - 1) + (n % 25 === 0 ? ask(n) : 1));
    const tree = (n) => (n === 0 ? [ask(0)] : [tree(n - 1), ask(n), tree(n - 1)]);
    const mutual = {
      even: (n) => n === 0 || mutual.odd(n - 1),
      odd: (n) => n !== 0 && mutual.even(n - 1) && ask(n) >= 0,
    };
    return [
      down(150),
      tree(4),
      mutual.even(60),
      [1, [2, [3, [4]]]].map(function flat(x) {
        return Array.isArray(x) ? x.map(flat) : ask(x);
      }),
    ];
  },

  "try, catch and finally": () => {
    const log = [];
    const attempt = (f) => {
      try {
        log.push(ask(1));
        return f();
      } catch (error) {
        log.push(text(error.message.length));
        return ask(2);
      } finally {
        log.push(ask(3));
      }
    };
    const nested = () => {
      try {
        try {
          fail("inner");
        } finally {
          log.push(ask(4));
        }
      } catch (error) {
        log.push(error.message);
        throw new TypeError(text(5));
      }
    };
    const loop = () => {
      for (let i = 0; ; i++) {
        try {
          if (ask(i) > 60) return i;
          if (i % 2) continue;
        } finally {
          log.push(i);
          if (i > 20) break;
        }
      }
      return -1;
    };
    return [
      attempt(() => ask(9)),
      attempt(() => fail("boom")),
      attempt(() => null.x),
      attempt(nested),
      loop(),
      log,
      [1, 2].map((x) => attempt(() => fail(x))),
    ];
  },

  "classes and constructors": () => {
    const log = [];
    class Base {
      static count = ask(1);
      field = ask(2);
      constructor(x) {
        log.push(ask(x));
        this.x = new.target.name + text(x);
      }
      method(y) {
        return ask(y);
      }
      static {
        this.ready = ask(3);
      }
    }
    class Derived extends Base {
      own = ask(this.field);
      constructor(x) {
        super(ask(x));
        this.y = super.method(x);
      }
      get [`p${ask(4)}`]() {
        return 1;
      }
      method(y) {
        return super.method(y) + ask(y + 1);
      }
      static make(...list) {
        return list.map((x) => new this(x));
      }
    }
    return [
      new Base(5),
      new Derived(6),
      Derived.make(1, 2),
      new Derived(7).method(8),
      Derived.count,
      Base.ready,
      log,
      Reflect.construct(Base, [9], Derived).constructor.name,
    ];
  },

  "evaluation order": () => {
    const log = [];
    const note = (x) => (log.push(x), ask(x));
    const list = [note(1), ...[note(2), note(3)], note(4)];
    const object = { [note(5)]: note(6), ...{ [note(7)]: note(8) } };
    let x = 1;
    x += note(9) * (x = 100) + x;
    const text1 = `${note(10)}-${note(11)}`;
    const chosen = note(12) ? note(13) : note(14);
    const logical = [null ?? note(15), 0 || note(16), 1 && note(17), undefined?.[note(18)]];
    ((a, b = note(19), { c = note(20) } = {}) => log.push(a, b, c))(note(21));
    outer: for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 3; j++) {
        if (note(i * 3 + j) % 2) continue outer;
        if (i === 2) break outer;
      }
    }
    switch (ask(3)) {
      case note(30):
        log.push("a");
        break;
      case ask(3):
        log.push("b");
      case note(31):
        log.push("c");
      default:
        log.push(note(32));
    }
    return [list, object, x, text1, chosen, logical, log];
  },

  "reflection, tags, closures": () => {
    const tag = (strings, ...values) => strings.raw.join("|") + values.map((v) => ask(v)).join(",");
    const counter = () => {
      let n = ask(0);
      return {
        up: () => (n += ask(n)),
        get n() {
          return n;
        },
      };
    };
    const c = counter();
    c.up();
    c.up();
    const bound = function (...list) {
      return [this.k, ...list.map(ask)];
    }.bind({ k: ask(1) }, 2);
    return [
      tag`a${1}b${2}c`,
      c.n,
      bound(3, 4),
      Reflect.apply(ask, null, [5]),
      Array.from({ length: 3 }, ask),
      [..."abc"].map((ch, i) => text(i)),
      Function.prototype.call.call(text, null, 6),
      eval("ask(7) + eval('ask(8)')"),
      new Function("x", "return ask(x) + 1")(9),
      [1, 2, 3].toSorted?.((a, b) => ask(b) - ask(a)),
    ];
  },

  "numbers and big integers": () => {
    let big = 1n,
      float = 0.5;
    for (let i = 0; i < 25; i++) {
      big = big * 3n + BigInt(ask(i));
      float = float * 1.5 + ask(i) / 7;
    }
    return [
      String(big),
      float,
      BigInt.asIntN(64, big).toString(),
      Number(big % 1000003n),
      -ask(1) * 0,
      2 ** ask(2),
      (ask(3) << 28) >>> 1,
      Math.hypot(ask(4), ask(5)),
    ];
  },
};

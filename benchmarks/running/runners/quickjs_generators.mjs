/**
 * What QuickJS does with functions that stop and go on: generators and what goes over them, of many kinds. `size` is the
 * `n` with which each runs for some 25 milliseconds; they give what they computed. `KEPT_ASIDE` are those that nothing
 * was chosen by.
 */

export const PROGRAMS = {
  "yield in a loop": {
    size: 120_000,
    source: (n) => {
      function* numbers(to) {
        for (let i = 0; i < to; i++) yield i;
      }
      let sum = 0;
      for (const x of numbers(n)) sum = (sum + x) & 0xffffff;
      return sum;
    },
  },
  "generators of generators": {
    size: 60_000,
    source: (n) => {
      function* numbers(to) {
        for (let i = 0; i < to; i++) yield i;
      }
      function* even(source) {
        for (const x of source) if (x % 2 == 0) yield x;
      }
      function* squares(source) {
        for (const x of source) yield x * x;
      }
      let sum = 0;
      for (const x of squares(even(numbers(n)))) sum = (sum + x) & 0xffffff;
      return sum;
    },
  },
  next: {
    size: 120_000,
    source: (n) => {
      function* echo() {
        let got = 0;
        for (;;) got = yield got + 1;
      }
      const it = echo();
      let sum = 0;
      for (let i = 0; i < n; i++) sum = (sum + it.next(i & 7).value) | 0;
      return sum;
    },
  },
  "yield*": {
    size: 3000,
    source: (n) => {
      function* tree(depth) {
        if (depth > 0) {
          yield* tree(depth - 1);
          yield depth;
          yield* tree(depth - 1);
        }
      }
      let sum = 0;
      for (let i = 0; i < n; i += 63) for (const x of tree(6)) sum += x;
      return sum;
    },
  },
  destructuring: {
    size: 14_000,
    source: (n) => {
      function* three(x) {
        yield x;
        yield x + 1;
        yield x + 2;
      }
      let sum = 0;
      for (let i = 0; i < n; i++) {
        const [a, b] = three(i);
        const [first, ...rest] = three(a);
        sum = (sum + b + first + rest.length) | 0;
      }
      return sum;
    },
  },
  "fibonacci numbers": {
    size: 1500,
    source: (n) => {
      function* fibonacci() {
        let [a, b] = [0, 1];
        for (;;) {
          yield a;
          [a, b] = [b, (a + b) & 0xffff];
        }
      }
      let sum = 0;
      for (let i = 0; i < n; i++) {
        let left = 30;
        for (const x of fibonacci()) {
          sum = (sum + x) & 0xffffff;
          if (--left == 0) break;
        }
      }
      return sum;
    },
  },
  "asynchronous functions": {
    size: 15_000,
    isAsynchronous: true,
    source: async (n) => {
      const later = async (x) => x + 1;
      let sum = 0;
      for (let i = 0; i < n; i++) sum = (sum + (await later(i))) & 0xffffff;
      return sum;
    },
  },
  "asynchronous generators": {
    size: 8_000,
    isAsynchronous: true,
    source: async (n) => {
      async function* numbers(to) {
        for (let i = 0; i < to; i++) yield i;
      }
      let sum = 0;
      for await (const x of numbers(n)) sum = (sum + x) & 0xffffff;
      return sum;
    },
  },
};

export const KEPT_ASIDE = {
  "spread and Array.from": {
    size: 900,
    source: (n) => {
      function* range(from, to) {
        while (from < to) yield from++;
      }
      let sum = 0;
      for (let i = 0; i < n; i++) sum += [...range(0, 30), ...range(i, i + 20)].length + Array.from(range(0, 40), (x) => x * 2)[7];
      return sum;
    },
  },
  "methods that generate": {
    size: 3500,
    source: (n) => {
      class Bag {
        constructor(...items) {
          this.items = items;
        }
        *[Symbol.iterator]() {
          for (const item of this.items) yield item;
        }
        *entries() {
          let place = 0;
          for (const item of this) yield [place++, item];
        }
      }
      const bag = new Bag(3, 1, 4, 1, 5, 9, 2, 6);
      let sum = 0;
      for (let i = 0; i < n; i++) for (const [place, item] of bag.entries()) sum = (sum + place * item) | 0;
      return sum;
    },
  },
  "return and throw": {
    size: 9_000,
    source: (n) => {
      function* careful(x) {
        try {
          yield x;
          yield x + 1;
        } catch (error) {
          yield error.length;
        } finally {
          x++;
        }
      }
      let sum = 0;
      for (let i = 0; i < n; i++) {
        const it = careful(i & 15);
        sum += it.next().value;
        sum += (i & 1 ? it.throw("error") : it.return(3)).value;
      }
      return sum;
    },
  },
  permutations: {
    size: 10,
    source: (n) => {
      function* permutations(items, count = items.length) {
        if (count <= 1) yield items;
        else {
          for (let i = 0; i < count; i++) {
            yield* permutations(items, count - 1);
            const other = count % 2 ? 0 : i;
            [items[other], items[count - 1]] = [items[count - 1], items[other]];
          }
        }
      }
      let sum = 0;
      for (let i = 0; i < n; i++) for (const [first, second] of permutations([1, 2, 3, 4, 5, 6])) sum += first * second;
      return sum;
    },
  },
  "tasks that take turns": {
    size: 300,
    isAsynchronous: true,
    source: async (n) => {
      const log = [];
      const task = async (name, steps) => {
        for (let i = 0; i < steps; i++) {
          log.push(name + i);
          await null;
        }
        return steps;
      };
      let sum = 0;
      for (let i = 0; i < n; i++) sum += (await Promise.all([task("a", 5), task("b", 9), task("c", 3)])).length;
      return [sum, log.length, log.slice(0, 9).join(" ")];
    },
  },
};

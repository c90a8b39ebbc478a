/**
 * What PHP does with functions that call themselves, of many kinds. `$n` is `size`, with which each runs for some 30
 * milliseconds; what it prints is compared. `KEPT_ASIDE` are those that nothing was chosen by.
 */

export const SCRIPTS = {
  fibonacci: {
    size: 26,
    code: "function fibonacci($k) { return $k < 2 ? $k : fibonacci($k - 1) + fibonacci($k - 2); } echo fibonacci($n);",
  },
  ackermann: {
    size: 120,
    code: `function ackermann($m, $k) { return $m == 0 ? $k + 1 : ($k == 0 ? ackermann($m - 1, 1) : ackermann($m - 1, ackermann($m, $k - 1))); }
      echo ackermann(2, $n);`,
  },
  "deep sums": {
    size: 15,
    code: `function sum($k) { return $k == 0 ? 0 : $k + sum($k - 1); } $all = 0; for ($i = 0; $i < $n; $i++) $all += sum(10000); echo $all;`,
  },
  "deep callbacks": {
    size: 60,
    code: `function nest($k) { return $k == 0 ? 1 : array_sum(array_map(fn($x) => $x + nest($k - 1), [$k])); }
      for ($i = 0, $all = 0; $i < $n; $i++) $all += nest(300); echo $all;`,
  },
  "nested arrays": {
    size: 12,
    code: `function build($depth) { return $depth == 0 ? [1] : ['left' => build($depth - 1), 'right' => build($depth - 1)]; }
      function total($tree) { $sum = 0; foreach ($tree as $part) $sum += is_array($part) ? total($part) : $part; return $sum; }
      echo total(build($n)), ' ', count(build($n), COUNT_RECURSIVE);`,
  },
  closures: {
    size: 20,
    code: `$down = function ($k) use (&$down) { return $k < 2 ? 1 : $down($k - 1) + $down($k - 2); };
      $twice = fn($f, $k) => $k == 0 ? 0 : $f($k) + $f($k - 1); echo $twice($down, $n) + $twice($down, $n - 1);`,
  },
  "methods that call themselves": {
    size: 12,
    code: `class Node { public $left = null; public $right = null;
        function __construct(public int $depth) { if ($depth > 0) { $this->left = new Node($depth - 1); $this->right = new Node($depth - 1); } }
        function count(): int { return 1 + ($this->left?->count() ?? 0) + ($this->right?->count() ?? 0); } }
      echo (new Node($n))->count();`,
  },
  "called by name": {
    size: 18,
    code: "function down($k) { return $k < 2 ? 1 : call_user_func('down', $k - 1) + call_user_func_array('down', [$k - 2]); } echo down($n);",
  },
};

export const KEPT_ASIDE = {
  hanoi: {
    size: 14,
    code: `function move($count, $from, $to, $over, &$moves) { if ($count == 0) return; move($count - 1, $from, $over, $to, $moves);
        $moves++; move($count - 1, $over, $to, $from, $moves); } $moves = 0; move($n, 'a', 'b', 'c', $moves); echo $moves;`,
  },
  queens: {
    size: 6,
    code: `function place($row, $size, $columns, $up, $down) { if ($row == $size) return 1; $found = 0;
        for ($c = 0; $c < $size; $c++) { if (isset($columns[$c]) || isset($up[$row + $c]) || isset($down[$row - $c])) continue;
          $found += place($row + 1, $size, $columns + [$c => 1], $up + [$row + $c => 1], $down + [$row - $c => 1]); } return $found; }
      echo place(0, $n, [], [], []), place(0, $n + 1, [], [], []);`,
  },
  "walks over nested arrays": {
    size: 10,
    code: `function build($depth) { return $depth == 0 ? 'leaf' : [build($depth - 1), 'x' => build($depth - 1), 'y' => $depth]; } $tree = build($n);
      array_walk_recursive($tree, function (&$leaf, $key) use (&$count) { $count += strlen((string) $leaf); });
      echo $count, ' ', strlen(serialize($tree)), ' ', strlen(json_encode($tree));`,
  },
  "recursive generators": {
    size: 10,
    code: `function walk($depth) { if ($depth > 0) { yield from walk($depth - 1); yield $depth; yield from walk($depth - 1); } }
      $sum = 0; foreach (walk($n) as $x) $sum += $x; echo $sum;`,
  },
  "deep sorting": {
    size: 3000,
    code: `function quick($list) { if (count($list) < 2) return $list; $pivot = array_shift($list); $less = $more = [];
        foreach ($list as $x) { if ($x < $pivot) $less[] = $x; else $more[] = $x; } return array_merge(quick($less), [$pivot], quick($more)); }
      for ($i = 0, $list = []; $i < $n; $i++) $list[] = $i * 7919 % 10007; echo implode(',', array_slice(quick($list), 5, 9));`,
  },
};

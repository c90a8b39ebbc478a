/**
 * What PHP is measured with: small scripts, each about a part of the interpreter or of its library. `$n` is `size`, with
 * which each runs for some 30 milliseconds; what it prints is compared.
 */

export const SCRIPTS = {
  loops: {
    size: 1_000_000,
    code: "$sum = 0; for ($i = 0; $i < $n; $i++) { $sum = ($sum + $i * 7) & 0xffffff; } echo $sum;",
  },
  recursion: {
    size: 26,
    code: "function fibonacci($k) { return $k < 2 ? $k : fibonacci($k - 1) + fibonacci($k - 2); } echo fibonacci($n);",
  },
  objects: {
    size: 90_000,
    code: `
      abstract class Shape { function __construct(protected float $side) {} abstract function area(): float;
        function twice(): float { return $this->area() * 2; } }
      final class Square extends Shape { function area(): float { return $this->side * $this->side; } }
      final class Circle extends Shape { function area(): float { return $this->side * $this->side * M_PI; } }
      $sum = 0.0;
      for ($i = 0; $i < $n; $i++) { $shape = $i & 1 ? new Square($i % 63) : new Circle($i % 31); $sum += $shape->twice(); }
      printf('%.3f', $sum);`,
  },
  closures: {
    size: 125_000,
    code: `
      $compose = fn($f, $g) => fn($x) => $g($f($x));
      $count = 0; $step = function ($x) use (&$count) { $count += $x & 3; return $x + 1; };
      $both = $compose($step, fn($x) => $x ^ 5);
      for ($i = 0, $x = 0; $i < $n; $i++) $x = $both($x + $i) & 0xffff;
      echo $x, ' ', $count;`,
  },
  arrays: {
    size: 125_000,
    code: `
      $list = []; for ($i = 0; $i < $n; $i++) $list[] = $i * 31 % 1009;
      $counts = []; foreach ($list as $x) $counts["k$x"] = ($counts["k$x"] ?? 0) + 1;
      $other = array_sum(array_filter(array_map(fn($x) => $x * 2, array_slice($list, 0, intdiv($n, 4))), fn($x) => $x % 3));
      ksort($counts); echo count($counts), ' ', key($counts), ' ', $other, ' ', implode(',', array_slice(array_unique($list), 3, 5));`,
  },
  sort: {
    size: 20_000,
    code: `
      $seed = 7; $list = []; for ($i = 0; $i < $n; $i++) $list[] = $seed = ($seed * 1103515245 + 12345) % 2147483648;
      $words = array_map(fn($x) => base_convert((string) $x, 10, 36), array_slice($list, 0, intdiv($n, 4)));
      usort($list, fn($a, $b) => $a <=> $b); sort($words);
      echo $list[0], ' ', $list[intdiv($n, 2)], ' ', $words[0], ' ', end($words);`,
  },
  strings: {
    size: 75_000,
    code: `
      $text = ''; $sum = 0;
      for ($i = 0; $i < $n; $i++) {
        $text .= chr(97 + $i % 26) . $i;
        if (strlen($text) > 2000) {
          $sum += count(explode('a', $text)) + strrpos(strtoupper($text), 'Q') + crc32($text) % 1000;
          $text = trim(str_replace('b', 'bb', substr($text, 1500)));
        }
        $sum += ord(sprintf('%05d:%x', $i, strlen($text))[$i % 5]);
      }
      echo $sum;`,
  },
  "regular expressions": {
    size: 3000,
    code: `
      $line = '2024-07-16 error in module core/io.c:1042, retry after 17.5 s; user=anna@example.org id=0x7fe3'; $found = 0;
      for ($i = 0; $i < $n; $i++) {
        preg_match('/(\\\\d{4})-(\\\\d\\\\d)-(\\\\d\\\\d)/', $line, $match); $found += (int) $match[2];
        $found += preg_match_all('/\\\\b[a-z]+\\\\b/', $line);
        $found += strlen(preg_replace('/(\\\\w+)@(\\\\w+)\\\\.org/', '$2:$1', $line));
        $found += preg_match('/^(?:[^;]|;(?! user))*; user=(?<name>\\\\w+)/', $line);
        $found += count(preg_split('/[\\\\s,;=]+/', $line));
      }
      echo $found;`,
  },
  JSON: {
    size: 175,
    code: `
      $things = []; for ($i = 0; $i < 100; $i++) $things[] = ['id' => $i, 'name' => "thing $i", 'tags' => ['a', "b\\n"], 'price' => $i / 7, 'gone' => $i % 2 == 0];
      for ($i = 0, $length = 0; $i < $n; $i++) { $text = json_encode($things); $length += strlen($text) + json_decode($text, true)[$i % 100]['id']; }
      echo $length;`,
  },
  serialize: {
    size: 400,
    code: `
      class Thing { public $next = null; function __construct(public int $id, public array $tags) {} }
      $things = []; for ($i = 0; $i < 100; $i++) { $things[] = $thing = new Thing($i, ['a' => $i, 'b' => "text $i"]); $thing->next = $things[intdiv($i, 2)]; }
      for ($i = 0, $length = 0; $i < $n; $i++) { $text = serialize($things); $length += strlen($text) + unserialize($text)[$i % 100]->next->id; }
      echo $length;`,
  },
  generators: {
    size: 200_000,
    code: `
      function numbers($to) { for ($i = 0; $i < $to; $i++) yield $i; }
      function even($source) { foreach ($source as $x) if ($x % 2 == 0) yield $x; }
      $sum = 0; foreach (even(numbers($n)) as $x) $sum = ($sum + $x) & 0xffffff; echo $sum;`,
  },
  exceptions: {
    size: 75_000,
    code: `
      function check($x) { if ($x % 3 == 0) throw new RangeException('bad ' . $x % 7); return $x; }
      for ($i = 0, $sum = 0; $i < $n; $i++) { try { $sum += check($i) & 0xff; } catch (RangeException $e) { $sum += strlen($e->getMessage()); } finally { $sum++; } }
      echo $sum;`,
  },
  mandelbrot: {
    size: 64,
    code: `
      for ($y = 0, $inside = 0; $y < $n; $y++) for ($x = 0; $x < $n; $x++) {
        $a = $b = 0.0; $ca = 2.5 * $x / $n - 2; $cb = 2.0 * $y / $n - 1;
        for ($i = 0; $i < 100 && $a * $a + $b * $b < 4; $i++) { [$a, $b] = [$a * $a - $b * $b + $ca, 2 * $a * $b + $cb]; }
        $inside += $i;
      }
      echo $inside;`,
  },
  templates: {
    size: 12_000,
    code: `
      ob_start(); for ($i = 0; $i < $n; $i++) { ?><tr class="<?= $i % 2 ? 'odd' : 'even' ?>"><td><?= htmlspecialchars("<$i> & \\"$i\\"") ?></td><td><?= number_format($i * 1234.5, 2) ?></td><td><?= date('Y-m-d', $i * 86400) ?></td></tr>
      <?php } $page = ob_get_clean(); echo strlen($page), ' ', md5($page);`,
  },
};

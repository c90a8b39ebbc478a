<?php
// Asks a slow service for each word of each line that it reads, and writes down what it was told.

function lines($file)
{
    while (($line = fgets($file)) !== false) {
        yield trim($line);
    }
}

function ask(string $word): string
{
    usleep(200_000);
    return strrev($word);
}

$orders = fopen('orders.txt', 'r');
$answers = fopen('answers.txt', 'w');
$started = 0;
foreach (lines($orders) as $number => $line) {
    // PHP's C code for array_map stands between the script and the function that waits.
    $told = array_map(fn ($word) => ask($word), explode(' ', $line));
    fwrite($answers, implode(' ', $told) . "\n");
    $started += count($told);
    echo 'line ', $number + 1, ': ', implode(' ', $told), "\n";
}
echo "$started words\n";

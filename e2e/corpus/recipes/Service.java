import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The program of the image java. README.md of the corpus says what it answers. */
public final class Service {
  private static final AtomicLong count = new AtomicLong();
  private static final SecureRandom secure = new SecureRandom();

  private static final Map<String, Supplier<Object>> answers = Map.of(
      "/", () -> "hello from java",
      "/count", count::incrementAndGet,
      "/time", () -> String.format(
          "{\"monotonic_ns\": %d, \"wall_ms\": %d}", System.nanoTime(), System.currentTimeMillis()),
      "/random", Service::random,
      "/pseudo", Math::random);

  public static void main(String[] args) throws IOException {
    random(); // has the generator seed itself
    if (args.length > 0) {
      index(Integer.parseInt(args[0]));
    }
    HttpServer server = HttpServer.create(new InetSocketAddress(8080), 128);
    server.createContext("/", Service::answer);
    server.setExecutor(Executors.newFixedThreadPool(8));
    server.start();
    System.out.println("ready");
  }

  private static final Map<String, Integer> index = new TreeMap<>();
  private static final Pattern record = Pattern.compile("(?<key>[a-z]+-[0-9a-f]+);(?<value>[0-9]+)");

  /** What services do before they are ready: it reads a number of records and keeps every tenth of them in an index. */
  private static void index(int records) {
    for (int i = 0; i < records; i++) {
      Matcher m = record.matcher(String.format("record-%x;%d", i * 2654435761L, i));
      if (m.matches() && i % 10 == 0) {
        index.put(m.group("key"), Integer.valueOf(m.group("value")));
      }
    }
  }

  private static void answer(HttpExchange exchange) throws IOException {
    Supplier<Object> answer = answers.get(exchange.getRequestURI().getPath());
    String text = answer == null ? "not found" : answer.get().toString();
    byte[] body = (text + "\n").getBytes(StandardCharsets.UTF_8);
    exchange.getResponseHeaders().set("Content-Type", "text/plain");
    exchange.sendResponseHeaders(answer == null ? 404 : 200, body.length);
    try (OutputStream out = exchange.getResponseBody()) {
      out.write(body);
    }
  }

  private static String random() {
    byte[] bytes = new byte[16];
    secure.nextBytes(bytes);
    return HexFormat.of().formatHex(bytes);
  }
}

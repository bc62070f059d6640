//! Divergence over size, as a table and as a picture.

use plotters::prelude::*;

/// Pixels of the picture.
const SIZE: (u32, u32) = (900, 560);

/// A file, or what one would be.
#[derive(Clone, Debug)]
pub struct Point {
    pub name: String,
    pub bytes: u64,
    pub weights: u64,
    /// Mean KL divergence in nats.
    pub divergence: f64,
    /// Its standard error, if it was measured.
    pub error: Option<f64>,
}

impl Point {
    /// Bits for each weight, the whole file counted.
    pub fn bits(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.weights.max(1) as f64
    }
}

/// The best mixes, and other files beside them.
#[derive(Clone, Debug)]
pub struct Curve {
    pub ours: Vec<Point>,
    pub others: Vec<Point>,
}

impl Curve {
    /// A line for each point, under a header.
    pub fn csv(&self) -> String {
        let mut text = String::from("file,bytes,bpw,times_smaller_than_fp32,kld,kld_error\n");
        for point in self.ours.iter().chain(&self.others) {
            let error = point.error.map_or(String::new(), |e| format!("{e:.6}"));
            let (bits, name) = (point.bits(), point.name.replace([',', '"'], " "));
            text += &format!(
                "{name},{},{bits:.4},{:.4},{:.6},{error}\n",
                point.bytes,
                32.0 / bits,
                point.divergence
            );
        }
        text
    }

    /// A picture with the size on a linear axis and the divergence on a logarithmic one.
    pub fn svg(&self) -> String {
        let mut text = String::new();
        let drawn = self.draw(SVGBackend::with_string(&mut text, SIZE));
        drawn.unwrap_or_else(|e| unreachable!("a string takes all: {e}"));
        text
    }

    fn draw(&self, backend: SVGBackend) -> Result<(), Box<dyn std::error::Error>> {
        let all = || self.ours.iter().chain(&self.others);
        let least = |of: fn(&Point) -> f64| all().map(of).fold(f64::INFINITY, f64::min);
        let most = |of: fn(&Point) -> f64| all().map(of).fold(0.0, f64::max);
        let (bits, divergence) =
            (Point::bits as fn(&Point) -> f64, (|p: &Point| p.divergence) as fn(&Point) -> f64);
        let root = backend.into_drawing_area();
        root.fill(&WHITE)?;
        let y = (0.8 * least(divergence).max(1e-6)..1.25 * most(divergence).max(1e-5)).log_scale();
        let mut chart = ChartBuilder::on(&root)
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(least(bits) - 0.05..most(bits) + 0.35, y)?;
        chart
            .configure_mesh()
            .x_desc("bits per weight, whole file")
            .y_desc("mean KL divergence, nats")
            .label_style(("sans-serif", 14))
            .light_line_style(WHITE)
            .draw()?;
        let blue = RGBColor(0, 90, 170);
        chart
            .draw_series(LineSeries::new(
                self.ours.iter().map(|p| (p.bits(), p.divergence)),
                blue.stroke_width(2),
            ))?
            .label("tenpak, best mix (expected)")
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], blue.stroke_width(2)));
        for point in &self.others {
            let at = (point.bits(), point.divergence);
            let style = ("sans-serif", 13).into_font();
            let mark = EmptyElement::at(at)
                + Circle::new((0, 0), 4, RGBColor(200, 80, 0).filled())
                + Text::new(point.name.clone(), (8, -6), style);
            chart.draw_series(std::iter::once(mark))?;
        }
        chart
            .configure_series_labels()
            .border_style(BLACK.mix(0.3))
            .background_style(WHITE.mix(0.8))
            .draw()?;
        root.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve() -> Curve {
        let point = |name: &str, bytes, divergence, error| Point {
            name: name.into(),
            bytes,
            weights: 800,
            divergence,
            error,
        };
        let ours = vec![point("2.50 bpw", 250, 0.5, None), point("3.00 bpw", 300, 0.25, None)];
        Curve { ours, others: vec![point("a, \"b\" <c>", 310, 0.75, Some(0.0125))] }
    }

    #[test]
    fn tables_have_a_line_for_each_file() {
        let expected = "file,bytes,bpw,times_smaller_than_fp32,kld,kld_error\n\
            2.50 bpw,250,2.5000,12.8000,0.500000,\n\
            3.00 bpw,300,3.0000,10.6667,0.250000,\n\
            a   b  <c>,310,3.1000,10.3226,0.750000,0.012500\n";
        assert_eq!(curve().csv(), expected);
    }

    #[test]
    fn pictures_name_all_files() {
        let svg = curve().svg();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(
            svg.contains("tenpak, best mix") && svg.contains("&lt;c&gt;") && svg.contains("<polyline"),
            "{svg}"
        );
    }
}

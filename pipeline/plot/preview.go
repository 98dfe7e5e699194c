package plot

import (
	"fmt"
	"image"
	"io"

	"golang.org/x/image/draw"
)

// Tile is an image with its name.
type Tile struct {
	Title string
	Image image.Image
}

// Row is a row of tiles with its name.
type Row struct {
	Title string
	Tiles []Tile
}

const (
	tileSize  = 160 // pixels of an image's longer side
	tileGap   = 16
	tileTitle = 16 // of the letters
)

// Preview draws rows of images, each with its title above it: for example
// four training images and, below them, four test images. Rows may have
// different numbers of tiles. Small images keep their square pixels, large
// ones are scaled down, and the shape of each stays.
func Preview(w io.Writer, rows []Row) error {
	columns := 0
	for _, row := range rows {
		columns = max(columns, len(row.Tiles))
		for i, tile := range row.Tiles {
			if tile.Image == nil || tile.Image.Bounds().Empty() {
				return fmt.Errorf("draw preview: image %d of row %q is empty", i+1, row.Title)
			}
		}
	}
	if columns == 0 {
		return fmt.Errorf("draw preview: there are no images")
	}
	const header = 2 * titleSize // left of each row
	p := newPage(margin+header+columns*(tileSize+tileGap)-tileGap+margin,
		margin+len(rows)*(tileTitle*2+tileSize+tileGap)-tileGap+margin)
	y := margin
	for _, row := range rows {
		p.turned(margin+titleSize/2, y+2*tileTitle+tileSize/2,
			label{text: p.shorten(row.Title, titleSize, tileSize), size: titleSize, align: centre, color: faint})
		for i, tile := range row.Tiles {
			p.tile(image.Pt(margin+header+i*(tileSize+tileGap), y), tile)
		}
		y += tileTitle*2 + tileSize + tileGap
	}
	return p.write(w)
}

func (p *page) tile(at image.Point, t Tile) {
	p.text(at.X+tileSize/2, at.Y+tileTitle, label{text: p.shorten(t.Title, tileTitle, tileSize), size: tileTitle, align: centre})
	size := t.Image.Bounds().Size()
	longer := max(size.X, size.Y)
	scaler := draw.Scaler(draw.NearestNeighbor)
	if longer > tileSize {
		scaler = draw.CatmullRom // nearest neighbour would leave out most pixels
	}
	size = image.Pt(max(1, size.X*tileSize/longer), max(1, size.Y*tileSize/longer))
	corner := at.Add(image.Pt((tileSize-size.X)/2, 2*tileTitle+(tileSize-size.Y)/2))
	place := image.Rectangle{Min: corner, Max: corner.Add(size)}
	scaler.Scale(p.RGBA, place, t.Image, t.Image.Bounds(), draw.Over, nil)
}
